-- One resource: the algorithm of lock-resource.ts, line by line. The order of every step defines the order of events.
-- A resource is { name, granted, convert, wait, lvb, lvbSeq, lvbInvalid, recovering }, a lock
-- { lkid, slot, gr, rq, ex, sb, hi, bast, lvbSeq, order, packed }: whoever changes one takes `packed` away (cast and bast do). `emit` has the methods cast(lock, status, lvb) and bast(lock, mode).
-- Nothing here touches Redis.

local NOQUEUE, CANCEL, CONVERT, VALBLK, QUECVT, IVVALBLK = 0x1, 0x2, 0x4, 0x8, 0x10, 0x20
local CONVDEADLK, NODLCKWT, EXPEDITE, NOQUEUEBAST, HEADQUE = 0x40, 0x100, 0x400, 0x800, 0x1000
local NOORDER, ALTPR, ALTCW, FORCEUNLOCK = 0x2000, 0x8000, 0x10000, 0x20000
local DEMOTED, VALNOTVALID, ALTMODE = 0x1, 0x2, 0x4
local NONE, NL, CR, CW, PR, PW, EX = -1, 0, 1, 2, 3, 4, 5
local OK, ENOENT, EAGAIN, EBUSY, EEXIST, EINVAL, ERANGE = 0, -2, -11, -16, -17, -22, -34
local EDEADLK, EPROTO, ECANCEL, EUNLOCK = -35, -71, -65537, -65538
local ENOLS, EIDENT, EEPOCH, ELOST, EFENCED, ERECOVER = -1001, -1002, -1003, -1004, -1005, -1006
local EGAP, ESTALE, EALIVE, ECONFLICT = -1007, -1008, -1009, -1010

-- [held][asked for]; no mode is compatible with everything. After NONE and NL: CR, CW, PR, PW, EX.
local COMPATIBLE = {
  [NONE] = { [NONE] = true, [NL] = true, true, true, true, true, true },
  [NL] = { [NONE] = true, [NL] = true, true, true, true, true, true },
  { [NONE] = true, [NL] = true, true, true, true, true, false },
  { [NONE] = true, [NL] = true, true, true, false, false, false },
  { [NONE] = true, [NL] = true, true, false, true, false, false },
  { [NONE] = true, [NL] = true, true, false, false, false, false },
  { [NONE] = true, [NL] = true, false, false, false, false, false },
}
-- [granted][asked for]: R from the resource, W to the resource.
local TRANSFER = {
  [NONE] = { [NL] = 'R', 'R', 'R', 'R', 'R', 'R' },
  [NL] = { [NL] = 'R', 'R', 'R', 'R', 'R', 'R' },
  { [NL] = '-', 'R', 'R', 'R', 'R', 'R' },
  { [NL] = '-', '-', 'R', 'R', 'R', 'R' },
  { [NL] = '-', '-', '-', 'R', 'R', 'R' },
  { [NL] = 'W', 'W', 'W', 'W', 'W', 'R' },
  { [NL] = 'W', 'W', 'W', 'W', 'W', 'W' },
}

local function compat(held, wanted) return COMPATIBLE[held][wanted] end

-- `flag` is one bit. (Cheaper than a call of bit.band.)
local function has(flags, flag) return flags % (flag + flag) >= flag end

local function indexOf(list, item)
  for i = 1, #list do if list[i] == item then return i end end
  return nil
end

local function copy(list)
  local result = {}
  for i = 1, #list do result[i] = list[i] end
  return result
end

local function conflict(queue, l)
  for i = 1, #queue do
    local x = queue[i]
    if x ~= l and not COMPATIBLE[x.gr][l.rq] then return true end
  end
  return false
end

local function grantable0(r, l, now, recover)
  local conv = l.gr ~= NONE
  local special = l.ex >= QUECVT -- one of the flags that are asked for below, perhaps
  if special and has(l.ex, EXPEDITE) then return true end
  if conflict(r.granted, l) or conflict(r.convert, l) then return false end
  if conv and recover then return true end
  if now and conv then
    if special and has(l.ex, QUECVT) then return #r.convert == 0 end
    return true
  end
  if special and has(l.ex, NOORDER) then return true end
  if not now and conv then return r.convert[1] == l end
  if now and not conv then return #r.convert == 0 and #r.wait == 0 end
  return #r.convert == 0 and r.wait[1] == l
end

local function deadlock(r, l)
  local ahead = false
  for i = 1, #r.convert do
    local x = r.convert[i]
    if x == l then
      ahead = true
    elseif not compat(l.gr, x.rq) and (not ahead or not compat(x.gr, l.rq)) then
      return true
    end
  end
  return false
end

local function grantable(r, l, now, recover)
  if grantable0(r, l, now, recover) then return 'ok' end
  if l.gr ~= NONE and not has(l.ex, NOQUEUE) and deadlock(r, l) then
    if not has(l.ex, CONVDEADLK) then return 'dead' end
    l.gr = NL
    l.packed = nil
    l.sb = bit.bor(l.sb, DEMOTED)
    return 'no'
  end
  local alt = NONE
  if l.rq ~= PR and has(l.ex, ALTPR) then alt = PR elseif l.rq ~= CW and has(l.ex, ALTCW) then alt = CW end
  if alt ~= NONE then
    local asked = l.rq
    l.rq = alt
    if grantable0(r, l, now, false) then
      l.sb = bit.bor(l.sb, ALTMODE)
      return 'ok'
    end
    l.rq = asked
  end
  return 'no'
end

local function writeLvb(r, l, input)
  if input == nil then return end
  r.lvb = input
  r.lvbSeq = r.lvbSeq + 1
  r.lvbInvalid = false
  l.lvbSeq = r.lvbSeq
end

local function lvbOnGrant(r, l, input)
  local direction = TRANSFER[l.gr][l.rq]
  local read = nil
  if direction == 'R' then
    if not has(l.ex, VALBLK) or r.lvb == nil then return nil end
    read = r.lvb
    l.lvbSeq = r.lvbSeq
  elseif direction == 'W' then
    if has(l.ex, IVVALBLK) then
      r.lvbInvalid = true
      return nil
    end
    if not has(l.ex, VALBLK) then return nil end
    writeLvb(r, l, input)
  end
  if r.lvbInvalid then l.sb = bit.bor(l.sb, VALNOTVALID) end
  return read
end

local function lvbOnUnlock(r, l, input)
  if l.gr < PW then return end
  if has(l.ex, IVVALBLK) then
    r.lvbInvalid = true
  elseif has(l.ex, VALBLK) then
    writeLvb(r, l, input)
  end
end

local function detachFrom(queue, l)
  local at = indexOf(queue, l)
  if at then table.remove(queue, at) end
end

local function detach(r, l)
  detachFrom(r.granted, l)
  detachFrom(r.convert, l)
  detachFrom(r.wait, l)
end

local function grant(r, l, input, emit)
  local lvb = lvbOnGrant(r, l, input)
  if r.granted[#r.granted] == l then
    l.gr = l.rq -- it stands where it would be put
  elseif l.gr ~= l.rq or not indexOf(r.granted, l) then
    l.gr = l.rq
    detach(r, l)
    table.insert(r.granted, l)
  end
  l.rq = NONE
  l.hi = 0
  emit:cast(l, OK, lvb)
end

local function grantConvert(r, emit)
  local quit = false
  local cw = false
  while true do
    local again, demoted, high = false, false, NONE
    for _, l in ipairs(copy(r.convert)) do
      local was = has(l.sb, DEMOTED)
      local verdict = grantable(r, l, false, r.recovering)
      if verdict == 'ok' then
        grant(r, l, nil, emit)
        again = true
      elseif not was and has(l.sb, DEMOTED) then
        demoted = true
      elseif verdict == 'dead' then
        if has(l.ex, NODLCKWT) and l.hi < l.rq then
          emit:bast(l, l.rq)
          l.hi = l.rq
        end
      else
        high = math.max(high, l.rq)
        if l.rq == CW then cw = true end
      end
    end
    if not again then
      if not demoted or quit then return high, cw end
      quit = true
    end
  end
end

local function grantPending(r, emit)
  if #r.convert == 0 and #r.wait == 0 then return end
  local high, cw = grantConvert(r, emit)
  for _, l in ipairs(copy(r.wait)) do
    if grantable(r, l, false, false) == 'ok' then
      grant(r, l, nil, emit)
    else
      high = math.max(high, l.rq)
      if l.rq == CW then cw = true end
    end
  end
  if high == NONE then return end
  for _, g in ipairs(r.granted) do
    if g.bast then
      local need
      if g.gr == PR and cw then need = g.hi < EX else need = g.hi < high and not compat(g.gr, high) end
      if need then
        emit:bast(g, (cw and high == PR and g.gr == PR) and CW or high)
        g.hi = high
      end
    end
  end
end

local function bastsFor(r, l, withConvertQueue, emit)
  local holders = copy(r.granted)
  if withConvertQueue then for _, x in ipairs(r.convert) do table.insert(holders, x) end end
  for _, x in ipairs(holders) do
    if x ~= l and x.bast then
      local middle = (x.gr == PR and l.rq == CW) or (x.gr == CW and l.rq == PR)
      local need
      if middle then need = x.hi < EX else need = x.hi < l.rq and not compat(x.gr, l.rq) end
      if need then
        emit:bast(x, l.rq)
        x.hi = l.rq
      end
    end
  end
end

local function enqueue(queue, l)
  if has(l.ex, HEADQUE) then table.insert(queue, 1, l) else table.insert(queue, l) end
end

local function requestLock(r, l, emit)
  if grantable(r, l, true, false) == 'ok' then
    grant(r, l, nil, emit)
  elseif not has(l.ex, NOQUEUE) then
    enqueue(r.wait, l)
    bastsFor(r, l, false, emit)
  else
    emit:cast(l, EAGAIN)
    if has(l.ex, NOQUEUEBAST) then bastsFor(r, l, true, emit) end
  end
end

local function convertLock(r, l, mode, flags, input, emit)
  l.ex = has(flags, CONVERT) and flags or flags + CONVERT
  l.sb = 0
  l.rq = mode
  l.packed = nil
  -- Alone it may have what it asks for.
  local verdict = #r.granted == 1 and #r.convert == 0 and 'ok' or grantable(r, l, true, false)
  if has(l.sb, DEMOTED) then grantConvert(r, emit) end
  if verdict == 'ok' or (has(l.sb, DEMOTED) and grantable0(r, l, true, false)) then
    grant(r, l, input, emit)
    grantPending(r, emit)
    return true
  end
  if verdict == 'dead' and not has(l.ex, NODLCKWT) then
    l.rq = NONE
    emit:cast(l, EDEADLK)
  elseif not has(l.ex, NOQUEUE) then
    detach(r, l)
    enqueue(r.convert, l)
    bastsFor(r, l, false, emit)
  else
    emit:cast(l, EAGAIN)
    if has(l.ex, NOQUEUEBAST) then bastsFor(r, l, true, emit) end
    l.rq = NONE
  end
  return false
end

local function cancelLock(r, l, emit)
  if indexOf(r.granted, l) then return end
  l.sb = 0
  l.packed = nil
  local converting = indexOf(r.convert, l)
  detach(r, l)
  l.rq = NONE
  if converting then table.insert(r.granted, l) end
  emit:cast(l, ECANCEL)
  grantPending(r, emit)
end

local function unlockLock(r, l, flags, input, emit)
  l.sb = 0
  l.ex = bit.bor(l.ex, flags)
  lvbOnUnlock(r, l, input)
  detach(r, l)
  l.gr = NONE
  l.rq = NONE
  emit:cast(l, EUNLOCK)
  grantPending(r, emit)
end

local function regrant(r, emit)
  r.recovering = true
  grantPending(r, emit)
  r.recovering = false
end

local function removeLocksOf(r, slot, dead, emit)
  local removed = false
  for _, queue in ipairs({ copy(r.granted), copy(r.convert), copy(r.wait) }) do
    for _, l in ipairs(queue) do
      if l.slot == slot then
        if dead and has(l.ex, VALBLK) and l.gr >= PW then r.lvbInvalid = true end
        detach(r, l)
        removed = true
      end
    end
  end
  if not removed then return end
  if dead then regrant(r, emit) else grantPending(r, emit) end
end
