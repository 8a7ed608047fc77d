-- The end of a call: all that has changed is written, and nothing but writing can fail any more.

local commit

do

-- A write refused in the middle (somebody put another type of value at our keys) must not leave half a change: then the
-- lockspace is taken away, which its members notice (ENOLS) and rebuild from what they hold. (Mailboxes may stay; opening
-- the lockspace anew and joining it empty them.)
local function takeAway(state)
  -- One by one: in a Redis Cluster that moves them elsewhere, a command that names several is refused.
  for _, key in ipairs(state.keys) do redis.pcall('DEL', key) end
end

local function isDone(result) return type(result) ~= 'table' or not result.err end

-- command, key, values... in pieces if they are many.
local function runAll(command, key, values)
  for i = 1, #values, CHUNK do
    if not isDone(redis.pcall(command, key, unpack(values, i, math.min(i + CHUNK - 1, #values)))) then return false end
  end
  return true
end

local function set(meta, field, value)
  local n = #meta
  meta[n + 1], meta[n + 2] = field, value
end

-- What a change of the lockspace itself, or of who belongs to it, adds to the fields of meta.
local function addAbout(state, meta)
  if state.aboutChanged then
    local about = table.concat({ SCHEMA, state.lsid, state.replid, state.epoch, state.phase, state.slots, state.leaseMs,
      state.lvbSize, state.code, state.fencing }, '|')
    set(meta, 'about', about)
    set(meta, 'now', '0000')
    state.tag, state.nextId = state.lsid .. ' ' .. state.replid, state.epoch .. '-*'
  end
  if state.departedChanged then
    local entries = {}
    for incarnation, dead in pairs(state.departed) do table.insert(entries, incarnation .. '=' .. (dead and 1 or 0)) end
    set(meta, 'gone', table.concat(entries, ' '))
  end
end

-- What is taken away, which comes before everything that is written.
local function remove(state)
  if state.reset then
    local keys = { state.keys[1], state.keys[2] }
    for slot = 1, state.slots do table.insert(keys, boxOf(state, slot)) end
    return runAll('DEL', keys[1], { unpack(keys, 2) })
  end
  local fields = state.dropped or {}
  for _, slot in ipairs(state.left or {}) do
    if not isDone(redis.pcall('DEL', boxOf(state, slot))) then return false end
    for _, field in ipairs({ memberField(slot), 'n:' .. slot, 'p:' .. slot }) do table.insert(fields, field) end
    for at = 0, REPLY_RING - 1 do table.insert(fields, placeOf(slot, at)) end
  end
  return runAll('HDEL', state.keys[1], fields) and (not state.deleted or runAll('HDEL', state.keys[2], state.deleted))
end

-- Events, and the end of those that were acknowledged long ago. A letter without an event ends a mailbox that nobody reads.
local function deliver(state)
  local mail = state.mail
  for i = 1, #mail do
    local letter = mail[i]
    local box, n, result = boxOf(state, letter.member.slot), letter.n, nil
    if not letter.event then
      result = redis.pcall('DEL', box)
    else
      -- The number after the last one is cheaper than one that is spelled out.
      result = redis.pcall('XADD', box, n == 1 and state.epoch .. '-1' or state.nextId, 'e', letter.event)
    end
    if not isDone(result) then return false end
  end
  local member = state.trim
  if not member then return true end
  local first = string.format('%d-%d', state.epoch, member.acked + 1)
  return isDone(redis.pcall('XTRIM', boxOf(state, member.slot), 'MINID', first))
end

-- Tells those that listen what is in their mailboxes now. A hint: nobody may listen, and it may be forbidden.
local function ring(state)
  for i = 1, #state.mail do
    local letter = state.mail[i]
    local member = letter.member
    if letter.event and member.slot ~= state.own then
      local incarnation = member.incarnation
      local message = struct.pack('<dBc0c0', state.epoch, #incarnation, incarnation, letter.event)
      redis.pcall('PUBLISH', boxOf(state, member.slot), message)
    end
  end
end

local function writeAll(state, meta, res)
  if (state.reset or state.left or state.dropped or state.deleted) and not remove(state) then return false end
  if #res > 0 and not runAll('HSET', state.keys[2], res) then return false end
  return deliver(state) and runAll('HSET', state.keys[1], meta)
end

-- Writes everything at once. False: the lockspace was taken away.
function commit(state)
  local meta, res, members, resources = {}, {}, state.changedMembers, state.changedResources
  if not state.changed and #members == 0 then return true end
  if state.aboutChanged or state.departedChanged then addAbout(state, meta) end
  for i = 1, #members do
    local member = members[i]
    if state.members[member.slot] == member then
      set(meta, memberField(member.slot), packMember(member))
      if member.aboutChanged then set(meta, 'n:' .. member.slot, cjson.encode(aboutMember(state, member))) end
      if member.report then set(meta, 'p:' .. member.slot, member.report) end
    end
    member.changed = false
  end
  if state.place then set(meta, state.place, state.answer) end
  for i = 1, #resources do
    local r = resources[i]
    if state.resources[r.name] == r then set(res, r.name, packResource(r)) end
    r.changed = false
  end
  state.writes = state.writes + 1
  state.at = struct.pack('<dddddc0', state.generation, state.seq, state.lkid, state.count, state.writes, state.tag)
  set(meta, 'at', state.at)
  if not writeAll(state, meta, res) then
    takeAway(state)
    return false
  end
  if #state.mail > 0 then ring(state) end
  return true
end

end
