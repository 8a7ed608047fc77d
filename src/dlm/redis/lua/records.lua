-- The resources of a lockspace, as records of the hash and as resource.lua works on them.

local function emptyResource(name)
  return { name = name, granted = {}, convert = {}, wait = {}, lvbSeq = 0, lvbInvalid = false, recovering = false }
end

-- A record: lvbSeq; invalid, has value (1 byte each); how long the value is, how many are granted, how many convert (2 bytes
-- each); the value; then each lock, in order of the queues.
local HEAD = '<dBBHHH'
local LOCK = '<dBbbIBbBdd' -- lkid, slot, gr, rq, ex, sb, hi, bast, lvbSeq, order

local function unpackResource(name, raw)
  local granted, convert, wait = {}, {}, {}
  local r = { name = name, granted = granted, convert = convert, wait = wait, lvbSeq = 0, lvbInvalid = false, recovering = false }
  local lvbSeq, invalid, hasValue, length, grants, converts, at = struct.unpack(HEAD, raw)
  r.lvbSeq, r.lvbInvalid = lvbSeq, invalid == 1
  if hasValue == 1 then r.lvb = string.sub(raw, at, at + length - 1) end
  at = at + length
  local count, size = 0, #raw
  while at <= size do
    local lkid, slot, gr, rq, ex, sb, hi, bast, seq, order, next = struct.unpack(LOCK, raw, at)
    at, count = next, count + 1
    local l = {
      lkid = lkid, slot = slot, gr = gr, rq = rq, ex = ex, sb = sb, hi = hi, bast = bast == 1, lvbSeq = seq, order = order,
    }
    if count <= grants then granted[count] = l
    elseif count <= grants + converts then convert[count - grants] = l
    else wait[count - grants - converts] = l end
  end
  return r
end

-- `packed`: what it was when it was packed last; nil where it has changed since.
local function packLock(l)
  local packed = l.packed
  if not packed then
    packed = struct.pack(LOCK, l.lkid, l.slot, l.gr, l.rq, l.ex, l.sb, l.hi, l.bast and 1 or 0, l.lvbSeq, l.order)
    l.packed = packed
  end
  return packed
end

local function packResource(r)
  local granted, convert, wait, value = r.granted, r.convert, r.wait, r.lvb or ''
  local grants, converts, waits = #granted, #convert, #wait
  local head = struct.pack(HEAD, r.lvbSeq, r.lvbInvalid and 1 or 0, r.lvb and 1 or 0, #value, grants, converts)
  if grants == 1 and converts + waits == 0 then return head .. value .. packLock(granted[1]) end
  local parts = { head, value }
  for i = 1, grants do parts[2 + i] = packLock(granted[i]) end
  for i = 1, converts do parts[2 + grants + i] = packLock(convert[i]) end
  for i = 1, waits do parts[2 + grants + converts + i] = packLock(wait[i]) end
  return table.concat(parts)
end

local function countLocks(r) return #r.granted + #r.convert + #r.wait end

-- Somebody has taken away resources behind our back: a name that is not there proves nothing.
local function isIncomplete(state) return redis.call('HLEN', state.keys[2]) ~= state.stored end

-- Kept for the rest of the call: a second look must see what the first one changed. Nil: there is no such resource, or
-- state.isLost, which makes the whole call fail.
local function resourceAt(state, name)
  local r = state.resources[name]
  if r == nil then
    local raw = redis.call('HGET', state.keys[2], name)
    r = raw and unpackResource(name, raw) or false
    state.weight = state.weight + 1 + (r and countLocks(r) or 0)
    state.isLost = state.isLost or (not raw and isIncomplete(state))
    state.resources[name] = r
  end
  return r or nil
end

local function changedResource(state, r)
  if r.changed then return end
  r.changed = true
  local list = state.changedResources
  list[#list + 1] = r
end

local function addResource(state, r)
  changedResource(state, r)
  state.count = state.count + 1
  state.resources[r.name] = r
end

-- It has changed; without a lock on it, it is gone.
local function keep(state, r)
  changedResource(state, r)
  if #r.granted > 0 or countLocks(r) > 0 then return end
  state.count = state.count - 1
  state.resources[r.name] = false
  note(state, 'deleted', r.name)
end

-- Sorted by name in byte order: Lua's own < on strings depends on the server's locale.
local function allResources(state)
  local raw = redis.call('HGETALL', state.keys[2])
  local names = {}
  for i = 1, #raw, 2 do
    table.insert(names, raw[i])
    if state.resources[raw[i]] == nil then state.resources[raw[i]] = unpackResource(raw[i], raw[i + 1]) end
  end
  table.sort(names, byteLess)
  local result = {}
  for _, name in ipairs(names) do
    if state.resources[name] then table.insert(result, state.resources[name]) end
  end
  return result
end

local function findIn(queue, slot, lkid)
  for i = 1, #queue do
    local l = queue[i]
    if l.lkid == lkid and l.slot == slot then return l end
  end
end

local function lockOn(r, slot, lkid)
  return findIn(r.granted, slot, lkid) or findIn(r.convert, slot, lkid) or findIn(r.wait, slot, lkid)
end
