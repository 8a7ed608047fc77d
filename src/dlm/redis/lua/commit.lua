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
  local count = #values
  if count == 0 then return true end
  if count <= CHUNK then return isDone(redis.pcall(command, key, unpack(values))) end
  for i = 1, count, CHUNK do
    if not isDone(redis.pcall(command, key, unpack(values, i, math.min(i + CHUNK - 1, count)))) then return false end
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

-- Events, and the end of those that were acknowledged long ago.
local function deliver(state)
  local mail = state.mail
  for i = 1, #mail, 3 do
    local member, event, result = mail[i], mail[i + 2], nil
    local box = member.box
    if not box then
      box = boxOf(state, member.slot)
      member.box = box
    end
    if event then
      -- The number after the last one is cheaper than one that is spelled out.
      result = redis.pcall('XADD', box, mail[i + 1] == 1 and state.epoch .. '-1' or state.nextId, 'e', event)
    else
      result = redis.pcall('DEL', box)
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
  local mail = state.mail
  for i = 1, #mail, 3 do
    local member, event = mail[i], mail[i + 2]
    if event and member.slot ~= state.own then
      if not member.address then
        member.address = struct.pack('<dBc0', state.epoch, #member.incarnation, member.incarnation)
      end
      redis.pcall('PUBLISH', member.box, member.address .. event)
    end
  end
end

local function writeAll(state, meta, res)
  if (state.reset or state.left or state.dropped or state.deleted) and not remove(state) then return false end
  return runAll('HSET', state.keys[2], res) and deliver(state) and runAll('HSET', state.keys[1], meta)
end

-- Writes everything at once. False: the lockspace was taken away.
function commit(state)
  local members, resources = state.changedMembers, state.changedResources
  if not state.changed and #members == 0 then return true end
  local meta, res = {}, {}
  if state.aboutChanged or state.departedChanged then addAbout(state, meta) end
  local n = #meta
  for i = 1, #members do
    local member = members[i]
    if state.members[member.slot] == member then
      meta[n + 1], meta[n + 2] = memberField(member.slot), packMember(member)
      n = n + 2
      if member.aboutChanged then
        meta[n + 1], meta[n + 2] = 'n:' .. member.slot, cjson.encode(aboutMember(state, member))
        n = n + 2
      end
      if member.report then
        meta[n + 1], meta[n + 2] = 'p:' .. member.slot, member.report
        n = n + 2
      end
    end
    member.changed = false
  end
  for i = 1, #resources do
    local r = resources[i]
    if state.resources[r.name] == r then res[#res + 1], res[#res + 2] = r.name, packResource(r) end
    r.changed = false
  end
  state.writes = state.writes + 1
  local at = struct.pack('<dddddc0', state.generation, state.seq, state.lkid, state.count, state.writes, state.tag)
  state.at = at
  meta[n + 1], meta[n + 2] = 'at', at
  if state.place then meta[n + 3], meta[n + 4] = state.place, state.answer end
  if not writeAll(state, meta, res) then
    takeAway(state)
    return false
  end
  if #state.mail > 0 then ring(state) end
  return true
end

end
