-- The resources of a lockspace, as records of the hash and as resource.lua works on them.

local function emptyResource(name)
  return { name = name, granted = {}, convert = {}, wait = {}, lvbSeq = 0, lvbInvalid = false, recovering = false }
end

local function unpackResource(name, raw)
  local r = emptyResource(name)
  local values = { cmsgpack.unpack_limit(raw, 7 + CHUNK, 0) }
  local at = values[1]
  local invalid, hasValue, value, granted, converting = values[4], values[5], values[6], values[7], values[8]
  r.lvbSeq, r.lvbInvalid = values[3], invalid == 1
  if hasValue == 1 then r.lvb = value end
  local count, first = 0, 9
  while true do
    for i = first, #values, 10 do
      count = count + 1
      local queue = count <= granted and r.granted or count <= granted + converting and r.convert or r.wait
      queue[#queue + 1] = {
        lkid = values[i], slot = values[i + 1], gr = values[i + 2], rq = values[i + 3], ex = values[i + 4],
        sb = values[i + 5], hi = values[i + 6], bast = values[i + 7] == 1, lvbSeq = values[i + 8],
        order = values[i + 9],
      }
    end
    if at < 0 then return r end
    values = { cmsgpack.unpack_limit(raw, CHUNK, at) }
    at, first = values[1], 2
  end
end

local function packResource(r)
  local flat = { 1, r.lvbSeq, r.lvbInvalid and 1 or 0, r.lvb and 1 or 0, r.lvb or '', #r.granted, #r.convert }
  local n = 7
  for _, queue in ipairs({ r.granted, r.convert, r.wait }) do
    for i = 1, #queue do
      local l = queue[i]
      flat[n + 1], flat[n + 2], flat[n + 3], flat[n + 4], flat[n + 5] = l.lkid, l.slot, l.gr, l.rq, l.ex
      flat[n + 6], flat[n + 7], flat[n + 8], flat[n + 9], flat[n + 10] = l.sb, l.hi, l.bast and 1 or 0, l.lvbSeq, l.order
      n = n + 10
    end
  end
  if n <= CHUNK then return cmsgpack.pack(unpack(flat)) end
  local parts = {}
  for i = 1, n, CHUNK do table.insert(parts, cmsgpack.pack(unpack(flat, i, math.min(i + CHUNK - 1, n)))) end
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
  table.insert(state.deleted, r.name)
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
