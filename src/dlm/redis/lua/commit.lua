-- The end of a call: all that has changed is written, and nothing but writing can fail any more.

local commit

do

local function packMember(m)
  return cmsgpack.pack(m.incarnation, m.state, m.counter, m.sent, m.acked, m.lastRid, m.token, m.owner, m.tries, m.knows)
end

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
    set(meta, 'about', table.concat({ SCHEMA, state.lsid, state.replid, state.epoch, state.phase, state.slots,
      state.leaseMs, state.lvbSize, state.code, state.fencing }, '|'))
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
  for i = 1, #state.mail do
    local letter = state.mail[i]
    local member = letter.member
    local box, result = boxOf(state, member.slot), nil
    if letter.event then
      local id = string.format('%d-%d', state.epoch, letter.n)
      result = redis.pcall('XADD', box, id, 'i', member.incarnation, 'e', letter.event)
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
  for i = 1, #state.mail do
    local letter = state.mail[i]
    local member = letter.member
    if letter.event and member.slot ~= state.own then
      local text = string.format('%d %s %s', state.epoch, member.incarnation, letter.event)
      redis.pcall('PUBLISH', boxOf(state, member.slot), text)
    end
  end
end

local function writeAll(state, meta, res)
  if (state.reset or state.left or state.dropped or state.deleted) and not remove(state) then return false end
  return runAll('HSET', state.keys[2], res) and deliver(state) and runAll('HSET', state.keys[1], meta)
end

-- Writes everything at once. False: the lockspace was taken away.
function commit(state)
  local meta, res = {}, {}
  if state.aboutChanged or state.departedChanged then addAbout(state, meta) end
  if state.changed then set(meta, 'now', cmsgpack.pack(state.generation, state.seq, state.lkid, state.count)) end
  for slot, member in pairs(state.members) do
    if member and member.changed then
      set(meta, memberField(slot), packMember(member))
      if member.aboutChanged then set(meta, 'n:' .. slot, cjson.encode(aboutMember(state, member))) end
      if member.report then set(meta, 'p:' .. slot, member.report) end
    end
  end
  if state.place then set(meta, state.place, state.answer) end
  for name, r in pairs(state.resources) do
    if r and r.changed then set(res, name, packResource(r)) end
  end
  local isWritten = writeAll(state, meta, res)
  if isWritten then ring(state) else takeAway(state) end
  return isWritten
end

end
