-- The resources of a lockspace, as records of the hash and as resource.lua works on them.

local function emptyResource(name)
  return { name = name, granted = {}, convert = {}, wait = {}, lvbSeq = 0, lvbInvalid = false, recovering = false }
end

-- Piece by piece, so that nothing but what it is worked with becomes a table.
local function unpackResource(name, raw)
  local r = emptyResource(name)
  local at, _, lvbSeq, invalid, hasValue, value, granted, converting = cmsgpack.unpack_limit(raw, 7, 0)
  r.lvbSeq, r.lvbInvalid = lvbSeq, invalid == 1
  if hasValue == 1 then r.lvb = value end
  local count = 0
  while at > 0 do
    local next, lkid, slot, gr, rq, ex, sb, hi, bast, seq, order = cmsgpack.unpack_limit(raw, 10, at)
    at, count = next, count + 1
    local queue = count <= granted and r.granted or count <= granted + converting and r.convert or r.wait
    queue[#queue + 1] = {
      lkid = lkid, slot = slot, gr = gr, rq = rq, ex = ex, sb = sb, hi = hi, bast = bast == 1, lvbSeq = seq, order = order,
    }
  end
  return r
end

local function packResource(r)
  local parts = { cmsgpack.pack(1, r.lvbSeq, r.lvbInvalid and 1 or 0, r.lvb and 1 or 0, r.lvb or '', #r.granted, #r.convert) }
  local function add(queue)
    for i = 1, #queue do
      local l = queue[i]
      parts[#parts + 1] = cmsgpack.pack(l.lkid, l.slot, l.gr, l.rq, l.ex, l.sb, l.hi, l.bast and 1 or 0, l.lvbSeq, l.order)
    end
  end
  add(r.granted)
  add(r.convert)
  add(r.wait)
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
    state.isLost = state.isLost or (not raw and isIncomplete(state))
    state.resources[name] = r
  end
  return r or nil
end

local function addResource(state, r)
  r.changed = true
  state.count = state.count + 1
  state.resources[r.name] = r
end

-- It has changed; without a lock on it, it is gone.
local function keep(state, r)
  r.changed = true
  if countLocks(r) > 0 then return end
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

local function lockOn(r, slot, lkid)
  local function among(queue)
    for i = 1, #queue do
      if queue[i].lkid == lkid and queue[i].slot == slot then return queue[i] end
    end
  end
  return among(r.granted) or among(r.convert) or among(r.wait)
end
