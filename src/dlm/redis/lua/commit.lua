-- The end of a call: all that has changed is written, and nothing but writing can fail any more.

local function packMember(m)
  return cmsgpack.pack(m.incarnation, m.state, m.counter, m.sent, m.acked, m.lastRid, m.token, m.owner, m.tries, m.knows)
end

-- A write refused in the middle (somebody put another type of value at our keys) must not leave half a change: then the
-- lockspace is taken away, which its members notice (ENOLS) and rebuild from what they hold. (Mailboxes that are no keys of
-- this call stay; opening the lockspace anew and joining it empty them.)
local function run(state, commands)
  for i = 1, #commands do
    local result = redis.pcall(unpack(commands[i]))
    if type(result) == 'table' and result.err then
      redis.pcall('DEL', unpack(state.keys))
      return false
    end
  end
  return true
end

-- Adds `values` to `commands`, in pieces if they are many: command, key, values...
local function add(commands, command, key, values)
  for i = 1, #values, CHUNK do
    commands[#commands + 1] = { command, key, unpack(values, i, math.min(i + CHUNK - 1, #values)) }
  end
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
local function removals(state)
  local commands, fields = {}, state.dropped
  if state.reset then return { { 'DEL', unpack(state.keys) } } end
  for _, slot in ipairs(state.left) do
    table.insert(commands, { 'DEL', state.keys[2 + slot] })
    for _, prefix in ipairs({ 'm:', 'n:', 'p:' }) do table.insert(fields, prefix .. slot) end
    for at = 0, REPLY_RING - 1 do table.insert(fields, 'r:' .. slot .. ':' .. at) end
  end
  add(commands, 'HDEL', state.keys[1], fields)
  add(commands, 'HDEL', state.keys[2], state.deleted)
  return commands
end

-- Writes everything at once. False: see run.
local function commit(state)
  local commands, meta, res = removals(state), {}, {}
  addAbout(state, meta)
  if state.changed then set(meta, 'now', cmsgpack.pack(state.generation, state.seq, state.lkid, state.count)) end
  for slot, member in pairs(state.members) do
    if member and member.changed then
      set(meta, 'm:' .. slot, packMember(member))
      if member.aboutChanged then set(meta, 'n:' .. slot, cjson.encode(aboutMember(state, member))) end
      if member.report then set(meta, 'p:' .. slot, member.report) end
    end
  end
  if state.answer then set(meta, state.answer[1], state.answer[2]) end
  for name, r in pairs(state.resources) do
    if r and r.changed then set(res, name, packResource(r)) end
  end
  add(commands, 'HSET', state.keys[2], res)
  for i = 1, #state.streams do commands[#commands + 1] = state.streams[i] end
  add(commands, 'HSET', state.keys[1], meta)
  return run(state, commands)
end
