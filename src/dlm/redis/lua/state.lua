-- The lockspace as it lies in Redis, for the time of one call. Everything is read, checked and computed first; what is to
-- be written is collected and written at the very end (commit).
--
-- KEYS of every function, all with one hash tag: 1 meta (hash), 2 res (hash); of a member's calls 3 its own mailbox. The
-- mailboxes of the other slots (stream, <tag>mb:SLOT) are not named by the caller: who is told of a call is found out in it.
-- They have the same tag, so they lie in the same hash slot, and the same rights cover them (docs/redis.md).
--
-- meta  about   schema|lsid|replid|epoch|phase|slots|leaseMs|lvbSize|code|fencing: changes with members and recoveries
--       now     MessagePack: generation, seq, lkid, number of resources: changes with every operation
--       m:SLOT  MessagePack: incarnation, state, counter, sent, acked, rid, token, owner, tries, knows: a member; token,
--               owner and tries: who fences it; knows: the generation of the list of members that it has
--       n:SLOT  JSON {node, process}
--       r:SLOT:(rid mod 64)  MessagePack: rid, rc, value: the reply ring
--       p:SLOT  the member's recover call (JSON), while the lockspace is in phase "recover"
--       gone    incarnation=1 (dead) or =0 (left) ...: who was removed since that phase began
-- res   NAME    MessagePack: version, lvbSeq, invalid, has value, value, granted, converting; then per lock, in order of the
--               queues, lkid, slot, gr, rq, ex, sb, hi, bast, lvbSeq, order
-- mailbox       entries EPOCH-N {i: incarnation, e: event as JSON}, N without gaps; up to 64 acknowledged ones stay
--
-- Counters are below MOST, where Lua's own conversion to text is exact.

local SCHEMA = 3
local REPLY_RING = 64
local MAILBOX_LIMIT = 10000
local MOST_LOCKS_ON_ONE = 1000
local MOST_RESOURCES = 10000
local MOST = 1e14
-- unpack works on the Lua stack, which has 8000 places.
local CHUNK = 900

-- Names of fields, made once: they are constants.
local places, memberFields = {}, {}

-- Where the reply ring of a slot keeps the answer to a call.
local function placeOf(slot, rid)
  local ring = places[slot]
  if not ring then
    ring = {}
    for at = 0, REPLY_RING - 1 do ring[at] = 'r:' .. slot .. ':' .. at end
    places[slot] = ring
  end
  return ring[rid % REPLY_RING]
end

local function memberField(slot)
  local field = memberFields[slot]
  if not field then
    field = 'm:' .. slot
    memberFields[slot] = field
  end
  return field
end

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

-- The same as serverIdentity() == state.replid, cheaper.
local function isServer(state)
  local info = redis.call('INFO', 'replication')
  return string.find(info, 'role:master', 1, true) ~= nil and string.find(info, state.identityLine, 1, true) ~= nil
end

local ABOUT = '^(%d+)|([^|]*)|(%x*)|(%d+)|(%a+)|(%d+)|(%d+)|(%d+)|([^|]*)|(.*)$'

local function memberFrom(slot, raw)
  if not raw then return false end
  local incarnation, standing, counter, sent, acked, rid, token, owner, tries, knows = cmsgpack.unpack(raw)
  return {
    slot = slot, incarnation = incarnation, state = standing, counter = counter, sent = sent, acked = acked, lastRid = rid,
    token = token, owner = owner, tries = tries, knows = knows, changed = false,
  }
end

-- The member of a slot, or nil.
local function memberAt(state, slot)
  local member = state.members[slot]
  if member == nil then
    member = memberFrom(slot, redis.call('HGET', state.keys[1], memberField(slot)))
    state.members[slot] = member
  end
  return member or nil
end

-- The mailbox of a slot.
local function boxOf(state, slot)
  if slot == state.own then return state.keys[3] end
  return string.sub(state.keys[1], 1, -5) .. 'mb:' .. slot -- in place of 'meta'
end

-- An event in the mailbox of a slot: JSON made by `format` of its number, its seq and what follows. Slots without a member
-- are not told.
local function tellAs(state, slot, format, ...)
  local member = memberAt(state, slot)
  if not member then return end
  local seq, sent = state.seq + 1, member.sent + 1
  state.seq, state.changed = seq, true
  member.sent, member.changed = sent, true
  local unread = sent - member.acked
  if unread <= MAILBOX_LIMIT then
    local event = string.format(format, sent, seq, ...)
    state.mail[#state.mail + 1] = { member = member, n = sent, event = event }
    if slot == state.caller then state.fresh[#state.fresh + 1] = event end
  elseif unread == MAILBOX_LIMIT + 1 then
    state.mail[#state.mail + 1] = { member = member }
  end
end

-- `body`: the event as JSON, without number, seq and braces.
local function tell(state, slot, body) tellAs(state, slot, '{"n":%d,"seq":%d,%s}', body) end

-- What resource.lua calls emit:cast and emit:bast; the state of the call is what it emits to.
local CAST = '{"n":%d,"seq":%d,"type":"cast","lkid":%d,"status":%d,"mode":%d,"flags":%d,"lvbSeq":%d}'
local CAST_WITH_VALUE = '{"n":%d,"seq":%d,"type":"cast","lkid":%d,"status":%d,"mode":%d,"flags":%d,"lvbSeq":%d,"lvb":%s}'
local BAST = '{"n":%d,"seq":%d,"type":"bast","lkid":%d,"mode":%d}'

local function tellCast(state, l, status, lvb)
  if lvb then tellAs(state, l.slot, CAST_WITH_VALUE, l.lkid, status, l.gr, l.sb, l.lvbSeq, cjson.encode(lvb))
  else tellAs(state, l.slot, CAST, l.lkid, status, l.gr, l.sb, l.lvbSeq) end
  if status == OK or status == ECANCEL then l.order = state.seq end
end

local function tellBast(state, l, mode) tellAs(state, l.slot, BAST, l.lkid, mode) end

-- What `about` says, as the metatable of a state: it has what is not set in it. The same text is read again and again: what
-- it was parsed to is kept beside it.
local parsedText, parsed

local function parseAbout(text)
  if text ~= parsedText then
    local schema, lsid, replid, epoch, phase, slots, leaseMs, lvbSize, code, fencing = string.match(text, ABOUT)
    parsed = {
      __index = {
        schema = tonumber(schema or 0), lsid = lsid, replid = replid, epoch = tonumber(epoch or 0), phase = phase,
        slots = tonumber(slots or 0), leaseMs = tonumber(leaseMs or 0), lvbSize = tonumber(lvbSize or 0), code = code,
        fencing = fencing, identityLine = 'master_replid:' .. (replid or ''), cast = tellCast, bast = tellBast,
      },
    }
    parsedText = text
  end
  return parsed
end

-- Reads what every call needs; with `slot` the member of it, whose mailbox is the third key.
local function load(keys, slot)
  local raw = redis.call('HMGET', keys[1], 'about', 'now', memberField(slot or 0))
  local exists = raw[1] ~= false and raw[2] ~= false
  local generation, seq, lkid, count = 0, 0, 0, 0
  if raw[2] then generation, seq, lkid, count = cmsgpack.unpack(raw[2]) end
  local state = setmetatable({
    keys = keys, own = slot, exists = exists, generation = generation, seq = seq, lkid = lkid, count = count, stored = count,
    members = {}, resources = {}, mail = {}, fresh = {},
  }, parseAbout(raw[1] or SCHEMA .. '|||0|run|0|0|0||'))
  if slot and exists then state.members[slot] = memberFrom(slot, raw[3]) end
  if state.phase == 'recover' then
    state.departed = {}
    for incarnation, dead in string.gmatch(redis.call('HGET', keys[1], 'gone') or '', '(%S+)=(%d)') do
      state.departed[incarnation] = dead == '1'
    end
  end
  return state
end

-- Adds to one of the lists of a state that few calls need.
local function note(state, list, item)
  state[list] = state[list] or {}
  table.insert(state[list], item)
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
      table.insert(fields, memberField(slot))
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

-- Events of a member after `ack`, as JSON; nil: some of them are missing.
local function eventsAfter(state, member, ack)
  local unread = member.sent - ack
  if unread == 0 then return {} end
  if unread > MAILBOX_LIMIT then return nil end
  local entries = redis.call('XRANGE', boxOf(state, member.slot), state.epoch .. '-' .. (ack + 1), '+')
  if #entries ~= unread then return nil end
  local events = {}
  for i = 1, unread do events[i] = entries[i][2][4] end
  return events
end
