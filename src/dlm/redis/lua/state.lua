-- The lockspace as it lies in Redis, for the time of one call. Everything is read, checked and computed first; what is to
-- be written is collected and written at the very end (commit).
--
-- KEYS of every function, all with one hash tag: 1 meta (hash), 2 res (hash); of a member's calls 3 its own mailbox. The
-- mailboxes of the other slots (stream, <tag>mb:SLOT) are not named by the caller: who is told of a call is found out in it.
-- They have the same tag, so they lie in the same hash slot, and the same rights cover them (docs/redis.md).
--
-- meta  about   schema|lsid|replid|epoch|phase|slots|leaseMs|lvbSize|code|fencing: changes with members and recoveries
--       at      generation, seq, lkid, number of resources, number of writes; then lsid, replid: changes with every write
--       s:SLOT  sent, acked, rid, counter, token, tries, knows; then STANDING INCARNATION|OWNER: a member; token, owner and
--               tries: who fences it; knows: the generation of the list of members that it has
--       n:SLOT  JSON {node, process}
--       r:SLOT:(rid mod 64)  rid, rc, value: the reply ring
--       p:SLOT  the member's recover call (JSON), while the lockspace is in phase "recover"
--       gone    incarnation=1 (dead) or =0 (left) ...: who was removed since that phase began
--       now     for functions of schema 3, which read it before they look at the schema: they answer EPROTO
-- res   NAME    records.lua
-- mailbox       entries EPOCH-N {e: event}, N without gaps; up to 64 acknowledged ones stay
--
-- Numbers are stored, and sent to and fro, as doubles with the low byte first (struct): to make text of them, and numbers of
-- text, costs more than everything else that is done here. Only what few calls need is JSON. An event is
--   length (4 bytes, of all of it), kind (1 byte), n, seq, and
--   kind c  lkid, status, mode, flags, lvbSeq: a cast; v: the same, and then the value block
--   kind b  lkid, mode: a bast
--   kind j  the rest as JSON, without braces
--
-- Counters are below MOST, where Lua's own conversion to text is exact.

local SCHEMA = 4
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
    field = 's:' .. slot
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

local memberFrom, packMember
do

local STANDING = { a = 'active', f = 'fencing', b = 'absent' }
local LETTER = { active = 'a', fencing = 'f', absent = 'b' }

function memberFrom(slot, raw)
  if not raw then return false end
  local sent, acked, rid, counter, token, tries, knows, at = struct.unpack('<ddddddd', raw)
  local letter, incarnation, owner = string.match(raw, '^(.)([^|]*)|(.*)$', at)
  return {
    slot = slot, incarnation = incarnation, state = STANDING[letter], counter = counter, sent = sent, acked = acked,
    lastRid = rid, token = token, owner = owner, tries = tries, knows = knows, rest = string.sub(raw, 25), changed = false,
  }
end

-- `rest`: what hardly changes; nil where it has (restate).
function packMember(m)
  if not m.rest then
    m.rest = struct.pack('<ddddc0', m.counter, m.token, m.tries, m.knows, LETTER[m.state] .. m.incarnation .. '|' .. m.owner)
  end
  return struct.pack('<dddc0', m.sent, m.acked, m.lastRid, m.rest)
end

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

-- It is to be written.
local function changed(state, member)
  if member.changed then return end
  member.changed = true
  local list = state.changedMembers
  list[#list + 1] = member
end

-- More of it has changed than sent, acked and lastRid.
local function restate(state, member)
  member.rest = nil
  changed(state, member)
end

-- The mailbox of a slot.
local function boxOf(state, slot)
  if slot == state.own then return state.keys[3] end
  return string.sub(state.keys[1], 1, -5) .. 'mb:' .. slot -- in place of 'meta'
end

-- The member of a slot, who is told something; its next number, and the next seq. Slots without a member are not told.
local function numbered(state, slot)
  local member = state.members[slot] or memberAt(state, slot)
  if not member then return end
  local seq, sent = state.seq + 1, member.sent + 1
  state.seq, state.changed = seq, true
  member.sent = sent
  if not member.changed then changed(state, member) end
  return member, sent, seq
end

-- Into its mailbox: to state.mail the member, the number and the event, or false for the end of a mailbox that nobody reads.
local function put(state, member, event)
  local unread = member.sent - member.acked
  local mail = state.mail
  local at = #mail
  if unread <= MAILBOX_LIMIT then
    mail[at + 1], mail[at + 2], mail[at + 3] = member, member.sent, event
    if member.slot == state.caller then state.fresh[#state.fresh + 1] = event end
  elseif unread == MAILBOX_LIMIT + 1 then
    mail[at + 1], mail[at + 2], mail[at + 3] = member, member.sent, false
  end
end

-- `body`: the event as JSON, without number, seq and braces.
local function tell(state, slot, body)
  local member, n, seq = numbered(state, slot)
  if member then put(state, member, struct.pack('<IBddc0', 21 + #body, 106, n, seq, body)) end
end

-- What resource.lua calls emit:cast and emit:bast; the state of the call is what it emits to.
local function tellCast(state, l, status, lvb)
  local member, n, seq = numbered(state, l.slot)
  l.packed = nil
  if member and lvb then
    put(state, member, struct.pack('<IBdddddddc0', 61 + #lvb, 118, n, seq, l.lkid, status, l.gr, l.sb, l.lvbSeq, lvb))
  elseif member then
    put(state, member, struct.pack('<IBddddddd', 61, 99, n, seq, l.lkid, status, l.gr, l.sb, l.lvbSeq))
  end
  if status == OK or status == ECANCEL then l.order = state.seq end
end

local function tellBast(state, l, mode)
  local member, n, seq = numbered(state, l.slot)
  l.packed = nil
  if member then put(state, member, struct.pack('<IBdddd', 37, 98, n, seq, l.lkid, mode)) end
end

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
        tag = (lsid or '') .. ' ' .. (replid or ''), nextId = (epoch or '0') .. '-*',
      },
    }
    parsedText = text
  end
  return parsed
end

-- Reads what every call needs; with `slot` the member of it, whose mailbox is the third key.
local function load(keys, slot)
  local raw = redis.call('HMGET', keys[1], 'about', 'at', memberField(slot or 0))
  local at, parsed = raw[2], parseAbout(raw[1] or SCHEMA .. '|||0|run|0|0|0||')
  local isOurs = raw[1] and at and parsed.__index.schema == SCHEMA
  local generation, seq, lkid, count, writes = 0, 0, 0, 0, 0
  if isOurs then generation, seq, lkid, count, writes = struct.unpack('<ddddd', at) end
  local state = setmetatable({
    keys = keys, own = slot, exists = isOurs or parsed.__index.schema ~= SCHEMA, generation = generation, seq = seq,
    lkid = lkid, count = count, stored = count, writes = writes, at = at, members = {}, resources = {}, weight = 0, mail = {},
    fresh = {}, changedMembers = {}, changedResources = {},
  }, parsed)
  if slot and isOurs then state.members[slot] = memberFrom(slot, raw[3]) end
  if state.phase == 'recover' then
    state.departed = {}
    for incarnation, dead in string.gmatch(redis.call('HGET', keys[1], 'gone') or '', '(%S+)=(%d)') do
      state.departed[incarnation] = dead == '1'
    end
  end
  return state
end

local resume, retain
do

-- What the last call has left of a lockspace, by its first key: records that need not be read and unpacked again. It counts
-- only as long as `at` is what that call has written: `at` is another one after each write, in each epoch and life of a
-- server, and none but these functions in this process write what they have here. An error forgets it. Decision 17 says
-- why this also proves that the server is still who it was.
local retained, lockspaces = {}, 0
local MOST_LOCKSPACES = 32
local MOST_WEIGHT = 1024

-- The state for a call of `slot`; nil: it must be loaded.
function resume(keys, slot)
  local key = keys[1]
  local state = retained[key]
  if not state then return nil end
  retained[key], lockspaces = nil, lockspaces - 1
  if redis.call('HGET', key, 'at') ~= state.at then return nil end
  state.keys, state.own, state.stored, state.changed = keys, slot, state.count, false
  state.mail, state.changedMembers, state.changedResources = {}, {}, {}
  state.place, state.trim, state.deleted = nil, nil, nil
  if state.weight > MOST_WEIGHT then state.resources, state.weight = {}, 0 end
  memberAt(state, slot)
  return state
end

-- It is written, and may be what the next call begins with.
function retain(state)
  if state.phase ~= 'run' then return end
  if lockspaces == MOST_LOCKSPACES then retained, lockspaces = {}, 0 end
  local key = state.keys[1]
  if not retained[key] then lockspaces = lockspaces + 1 end
  retained[key] = state
end

end
