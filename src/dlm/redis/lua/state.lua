-- The lockspace as it lies in Redis, for the time of one call. Everything is read, checked and computed first; what is to
-- be written is collected and written at the very end (commit).
--
-- KEYS of every function, all with one hash tag: 1 meta (hash), 2 res (hash), 2+slot mailbox of the slot (stream).
--
-- meta  about   schema|lsid|replid|epoch|phase|slots|leaseMs|lvbSize|code|fencing: changes with members and recoveries
--       now     generation|seq|lkid|resources: changes with every operation
--       m:SLOT  incarnation|state|counter|sent|acked|rid|token|owner|tries|knows: a member; token, owner and tries: who
--               fences it; knows: the generation of the list of members that it has
--       n:SLOT  JSON {node, process}
--       r:SLOT:(rid mod 64)  rid|rc|value: the reply ring
--       p:SLOT  the member's recover call (JSON), while the lockspace is in phase "recover"
--       gone    incarnation=1 (dead) or =0 (left) ...: who was removed since that phase began
-- res   NAME    MessagePack: version, lvbSeq, invalid, has value, value, granted, converting; then per lock, in order of the
--               queues, lkid, slot, gr, rq, ex, sb, hi, bast, lvbSeq, order
-- mailbox       entries EPOCH-N {i: incarnation, e: event as JSON}, N without gaps; up to 64 acknowledged ones stay
--
-- Counters are below MOST, where Lua's own conversion to text is exact.

local SCHEMA = 2
local REPLY_RING = 64
local MAILBOX_LIMIT = 10000
local MOST_LOCKS_ON_ONE = 1000
local MOST_RESOURCES = 10000
local MOST = 1e14
-- unpack and cmsgpack work on the Lua stack, which has 8000 places.
local CHUNK = 900

-- cjson writes an empty table as {}.
local function array(jsons) return '[' .. table.concat(jsons, ',') .. ']' end

local function byteLess(a, b)
  for i = 1, math.min(#a, #b) do
    local x, y = string.byte(a, i), string.byte(b, i)
    if x ~= y then return x < y end
  end
  return #a < #b
end

-- Which life of which server this is: changes with every restart and promotion. Empty: it is no master.
local function serverIdentity()
  local info = redis.call('INFO', 'replication')
  if not string.find(info, 'role:master', 1, true) then return '' end
  return string.match(info, 'master_replid:(%x+)') or ''
end

-- The same as serverIdentity() == replid, cheaper.
local function isServer(replid)
  local info = redis.call('INFO', 'replication')
  return string.find(info, 'role:master', 1, true) ~= nil and string.find(info, 'master_replid:' .. replid, 1, true) ~= nil
end

local ABOUT = '^(%d+)|([^|]*)|(%x*)|(%d+)|(%a+)|(%d+)|(%d+)|(%d+)|([^|]*)|(.*)$'
local MEMBER = '^([^|]*)|(%a+)|(%d+)|(%d+)|(%d+)|(%d+)|(%d+)|([^|]*)|(%d+)|(%d+)$'

local function memberFrom(slot, raw)
  if not raw then return false end
  local incarnation, standing, counter, sent, acked, rid, token, owner, tries, knows = string.match(raw, MEMBER)
  return {
    slot = slot, incarnation = incarnation, state = standing, counter = tonumber(counter), sent = tonumber(sent),
    acked = tonumber(acked), lastRid = tonumber(rid), token = tonumber(token), owner = owner, tries = tonumber(tries),
    knows = tonumber(knows),
  }
end

-- Reads what every call needs, and the member of `slot` if one is given.
local function load(keys, slot)
  local raw = redis.call('HMGET', keys[1], 'about', 'now', 'm:' .. (slot or 0))
  local state = { keys = keys, members = {}, resources = {}, deleted = {}, streams = {}, fresh = {}, departed = {}, left = {} }
  local schema, lsid, replid, epoch, phase, slots, leaseMs, lvbSize, code, fencing = string.match(raw[1] or '', ABOUT)
  local generation, seq, lkid, count = string.match(raw[2] or '', '^(%d+)|(%d+)|(%d+)|(%d+)$')
  state.exists = raw[1] ~= false and raw[2] ~= false
  state.schema = tonumber(schema or (state.exists and 0 or SCHEMA))
  state.lsid, state.replid, state.epoch, state.phase = lsid, replid, tonumber(epoch or 0), phase or 'run'
  state.slots, state.leaseMs, state.lvbSize = tonumber(slots or 0), tonumber(leaseMs or 0), tonumber(lvbSize or 0)
  state.code, state.fencing = code or '', fencing or ''
  state.generation, state.seq, state.lkid = tonumber(generation or 0), tonumber(seq or 0), tonumber(lkid or 0)
  state.count = tonumber(count or 0)
  if slot and state.exists then state.members[slot] = memberFrom(slot, raw[3]) end
  if state.phase == 'recover' then
    for incarnation, dead in string.gmatch(redis.call('HGET', keys[1], 'gone') or '', '(%S+)=(%d)') do
      state.departed[incarnation] = dead == '1'
    end
  end
  return state
end

-- The member of a slot, or nil.
local function memberAt(state, slot)
  local member = state.members[slot]
  if member == nil then
    member = memberFrom(slot, redis.call('HGET', state.keys[1], 'm:' .. slot))
    state.members[slot] = member
  end
  return member or nil
end

-- The member of this slot if it is (still) this incarnation.
local function memberOf(state, who)
  local member = memberAt(state, who.slot)
  return member and member.incarnation == who.incarnation and member or nil
end

-- All that are not known yet, in one command.
local function loadMembers(state)
  local fields, slots = {}, {}
  for slot = 1, state.slots do
    if state.members[slot] == nil then
      table.insert(slots, slot)
      table.insert(fields, 'm:' .. slot)
      table.insert(fields, 'n:' .. slot)
    end
  end
  state.allLoaded = true
  if #slots == 0 then return end
  local raw = redis.call('HMGET', state.keys[1], unpack(fields))
  for i, slot in ipairs(slots) do
    local member = memberFrom(slot, raw[2 * i - 1])
    if member then member.about = cjson.decode(raw[2 * i]) end
    state.members[slot] = member
  end
end

-- Sorted by slot.
local function allMembers(state)
  if not state.allLoaded then loadMembers(state) end
  local result = {}
  for slot = 1, state.slots do
    local member = state.members[slot]
    if member then table.insert(result, member) end
  end
  return result
end

-- {node, process} of a member.
local function aboutMember(state, member)
  if not member.about then member.about = cjson.decode(redis.call('HGET', state.keys[1], 'n:' .. member.slot)) end
  return member.about
end

-- `body`: the event as JSON, without number, seq and braces.
local function tell(state, slot, body)
  local member = memberAt(state, slot)
  if not member then return end
  state.seq = state.seq + 1
  state.changed = true
  member.sent = member.sent + 1
  member.changed = true
  local unread = member.sent - member.acked
  if unread > MAILBOX_LIMIT then
    if unread == MAILBOX_LIMIT + 1 then table.insert(state.streams, { 'DEL', state.keys[2 + slot] }) end
    return
  end
  local event = '{"n":' .. member.sent .. ',"seq":' .. state.seq .. ',' .. body .. '}'
  local id = state.epoch .. '-' .. member.sent
  table.insert(state.streams, { 'XADD', state.keys[2 + slot], id, 'i', member.incarnation, 'e', event })
  if slot == state.caller then table.insert(state.fresh, event) end
end

-- Everybody who is not being fenced: such a member never reads again.
local function tellAll(state, body)
  for _, member in ipairs(allMembers(state)) do
    if member.state == 'active' then tell(state, member.slot, body) end
  end
end

local function tellDone(state)
  local members = {}
  for _, member in ipairs(allMembers(state)) do
    table.insert(members, '{"slot":' .. member.slot .. ',"node":' .. cjson.encode(aboutMember(state, member).node) .. '}')
  end
  tellAll(state, '"type":"done","generation":' .. state.generation .. ',"members":' .. array(members))
end

local function aboutSlot(kind, slot, node)
  return '"type":"' .. kind .. '","slot":' .. slot .. ',"node":' .. cjson.encode(node)
end

local function notifier(state)
  return {
    cast = function(l, status, lvb)
      local body = string.format('"type":"cast","lkid":%d,"status":%d,"mode":%d,"flags":%d,"lvbSeq":%d', l.lkid, status,
        l.gr, l.sb, l.lvbSeq)
      tell(state, l.slot, lvb and body .. ',"lvb":' .. cjson.encode(lvb) or body)
      if status == OK or status == ECANCEL then l.order = state.seq end
    end,
    bast = function(l, mode) tell(state, l.slot, string.format('"type":"bast","lkid":%d,"mode":%d', l.lkid, mode)) end,
  }
end

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

-- Events of a member after `ack`, as JSON; nil: some of them are missing.
local function eventsAfter(state, member, ack)
  local unread = member.sent - ack
  if unread == 0 then return {} end
  if unread > MAILBOX_LIMIT then return nil end
  local entries = redis.call('XRANGE', state.keys[2 + member.slot], state.epoch .. '-' .. (ack + 1), '+')
  if #entries ~= unread then return nil end
  local events = {}
  for i = 1, unread do events[i] = entries[i][2][4] end
  return events
end

-- Kept for the rest of the call: a second look must see what the first one changed. Nil: there is no such resource.
local function resourceAt(state, name)
  local r = state.resources[name]
  if r == nil then
    local raw = redis.call('HGET', state.keys[2], name)
    r = raw and unpackResource(name, raw) or false
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
  for _, queue in ipairs({ r.granted, r.convert, r.wait }) do
    for i = 1, #queue do
      if queue[i].lkid == lkid and queue[i].slot == slot then return queue[i] end
    end
  end
  return nil
end

local function memberLine(m)
  return m.incarnation .. '|' .. m.state .. '|' .. string.format('%.0f', m.counter) .. '|' .. m.sent .. '|' .. m.acked .. '|' .. m.lastRid .. '|'
    .. m.token .. '|' .. m.owner .. '|' .. m.tries .. '|' .. m.knows
end

-- A write refused in the middle (somebody put another type of value at our keys) must not leave half a change: then the
-- lockspace is taken away, which its members notice (ENOLS) and rebuild from what they hold.
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

-- Adds `values` to `commands` in pieces: command, key, values...
local function inPieces(commands, command, key, values)
  for i = 1, #values, CHUNK do
    table.insert(commands, { command, key, unpack(values, i, math.min(i + CHUNK - 1, #values)) })
  end
end

-- Writes everything at once. False: see run.
local function commit(state)
  local commands, meta, gone, res = {}, {}, {}, {}
  if state.reset then table.insert(commands, { 'DEL', unpack(state.keys) }) end
  if state.aboutChanged then
    meta = { 'about', table.concat({ SCHEMA, state.lsid, state.replid, state.epoch, state.phase, state.slots, state.leaseMs,
      state.lvbSize, state.code, state.fencing }, '|') }
  end
  if state.departedChanged then
    local entries = {}
    for incarnation, dead in pairs(state.departed) do table.insert(entries, incarnation .. '=' .. (dead and 1 or 0)) end
    table.insert(meta, 'gone')
    table.insert(meta, table.concat(entries, ' '))
  end
  if state.changed then
    table.insert(meta, 'now')
    table.insert(meta, state.generation .. '|' .. state.seq .. '|' .. state.lkid .. '|' .. state.count)
  end
  for slot, member in pairs(state.members) do
    if member and member.changed then
      table.insert(meta, 'm:' .. slot)
      table.insert(meta, memberLine(member))
      if member.aboutChanged then
        table.insert(meta, 'n:' .. slot)
        table.insert(meta, cjson.encode(aboutMember(state, member)))
      end
      if member.report then
        table.insert(meta, 'p:' .. slot)
        table.insert(meta, member.report)
      end
    end
  end
  if state.answer then
    table.insert(meta, state.answer[1])
    table.insert(meta, state.answer[2])
  end
  for _, slot in ipairs(state.left) do
    if not state.reset then
      table.insert(commands, { 'DEL', state.keys[2 + slot] })
      for _, prefix in ipairs({ 'm:', 'n:', 'p:' }) do table.insert(gone, prefix .. slot) end
      for at = 0, REPLY_RING - 1 do table.insert(gone, 'r:' .. slot .. ':' .. at) end
    end
  end
  for _, field in ipairs(state.dropped or {}) do table.insert(gone, field) end
  for name, r in pairs(state.resources) do
    if r and r.changed then
      table.insert(res, name)
      table.insert(res, packResource(r))
    end
  end
  inPieces(commands, 'HDEL', state.keys[1], gone)
  inPieces(commands, 'HDEL', state.keys[2], state.deleted)
  inPieces(commands, 'HSET', state.keys[2], res)
  for _, command in ipairs(state.streams) do table.insert(commands, command) end
  inPieces(commands, 'HSET', state.keys[1], meta)
  return run(state, commands)
end
