-- The functions, each one atomic step: @LIBRARY@_OP.
--
-- KEYS   those of state.lua.
-- ARGV   redis-wire.ts. 1: a mark of this call, so that its reply is not taken for another's; of a member's calls then slot,
--        epoch, rid, ack, seen, incarnation, and what locks.lua and members.lua read. 2: the rest as JSON (lock-call.ts)
-- reply  the mark, rc, value, seq, epoch, generation, length of the events, the events; the rest of a LockReply as JSON, if
--        there is any. Every refusal is a reply with its code in rc, never a Redis error.
-- error  only what no caller can cause: values of a wrong type at our keys. Raised before the first write it has changed
--        nothing; a write that fails takes the whole lockspace away, so that its members rebuild it (state.lua, run).
-- atomic all that is read is read, all that is checked is checked and all that is written is computed, the reply too,
--        before the first write.
-- flags  allow-oom: giving up a lock and renewing must work when the memory is full. hello and dump: no-writes.

do

-- Why the lockspace cannot be used, or OK.
local function usable(state)
  if not state.exists then return ENOLS end
  if state.schema ~= SCHEMA then return EPROTO end
  return isServer(state) and OK or EIDENT
end

local function recordOf(state, member)
  local about = aboutMember(state, member)
  local record = '{"slot":' .. member.slot .. ',"incarnation":' .. cjson.encode(member.incarnation) .. ',"counter":'
    .. member.counter .. ',"node":' .. cjson.encode(about.node) .. ',"state":"' .. member.state .. '","knows":' .. member.knows
  if about.process then record = record .. ',"process":' .. cjson.encode(about.process) end
  if member.state == 'fencing' then
    record = record .. ',"fence":{"token":' .. member.token .. ',"owner":' .. cjson.encode(member.owner) .. ',"tries":'
      .. member.tries .. '}'
  end
  return record .. '}'
end

-- Parts of replies, each with a comma before it.
local function phasePart(state) return ',"state":"' .. state.phase .. '"' end

local function membersPart(state)
  local records = {}
  for _, member in ipairs(allMembers(state)) do table.insert(records, recordOf(state, member)) end
  return phasePart(state) .. ',"members":' .. array(records)
end

-- A caller that has seen the list of this generation, as all have, is told the counters only: [slot,counter] of each.
local function renewedPart(state)
  if state.known ~= state.generation or state.phase ~= 'run' then return membersPart(state) end
  local counters = {}
  for _, member in ipairs(allMembers(state)) do
    if member.state ~= 'active' or member.knows ~= state.generation then return membersPart(state) end
    table.insert(counters, '[' .. member.slot .. ',' .. member.counter .. ']')
  end
  return phasePart(state) .. ',"counters":' .. array(counters)
end

local function aboutPart(state)
  return membersPart(state) .. ',"leaseMs":' .. state.leaseMs .. ',"fencing":' .. cjson.encode(state.fencing)
end

local function conflictsPart(state)
  local conflicts = conflictsOf(state)
  return #conflicts == 0 and '' or ',"conflicts":' .. array(conflicts)
end

local function serverPart() return ',"server":' .. cjson.encode(serverIdentity()) end

local function reply(state, rc, value, events, parts)
  local all = ''
  if events then all = #events == 1 and events[1] or table.concat(events) end
  local head = struct.pack('<dddddddc0', state.mark, rc, value, state.seq, state.epoch, state.generation, #all, all)
  return parts and head .. '{' .. string.sub(parts, 2) .. '}' or head
end

-- Refusals that are answered with a report: it must say which life of the server it is for, lest it come to another.
local function refuse(state, rc)
  local isOther = rc == ENOLS or rc == EIDENT or rc == EEPOCH or rc == ELOST
  return reply(state, rc, 0, nil, isOther and serverPart() .. (rc == ENOLS and ',"mayHaveForgotten":true' or '') or nil)
end

local function loadFor(keys, args)
  local state = load(keys)
  state.mark = struct.unpack('<d', args[1])
  return state
end

-- Writes, and answers with what was composed before.
local function finish(state, text, retains)
  if commit(state) then
    if retains then retain(state) end
    return text
  end
  local now = load(state.keys)
  now.mark = state.mark
  return refuse(now, ENOLS)
end

-- Old entries are trimmed when the acknowledgement passes a multiple of 64.
local function trim(state, member, ack)
  if ack <= member.acked then return end
  if ack - ack % 64 > member.acked then state.trim = member end
  member.acked = ack
  changed(state, member)
end

-- rid, rc and value of a place in the reply ring; nothing, if it is empty.
local function readAnswer(raw)
  if raw then return struct.unpack('<ddd', raw) end
end

-- A call that was executed before: the same answer, without executing it again.
local function repeated(state, member, asked, ack, events)
  local rid, rc, value = readAnswer(redis.call('HGET', state.keys[1], placeOf(member.slot, asked)))
  if rid ~= asked then return reply(state, ESTALE, 0, eventsAfter(state, member, member.acked)) end
  trim(state, member, ack)
  return finish(state, reply(state, rc, value, events))
end

-- Before a call of a member is even looked up in the reply ring it is refused if it is not of this epoch, knows what is not
-- known here, or is not a member's. `kind`: 'lock'; 'read', which changes the caller's own record only; 'member'.
local function memberFunction(kind, execute, parts)
  return function(keys, args)
    local text = args[1]
    local mark, slot, epoch, rid, ack, seen, incarnation, at = struct.unpack('<ddddddBc0', text)
    local state = kind ~= 'member' and resume(keys, slot)
    local rc, value = OK, nil
    if not state then
      state = load(keys, slot)
      rc = usable(state)
    elseif kind == 'read' and not isServer(state) then
      rc = EIDENT
    end
    state.mark = mark
    if rc ~= OK then return refuse(state, rc) end
    if epoch ~= state.epoch then return refuse(state, EEPOCH) end
    if seen > state.seq then return refuse(state, ELOST) end
    local member = state.members[slot]
    if not member or member.incarnation ~= incarnation or member.state == 'fencing' then return refuse(state, EFENCED) end
    if member.state == 'absent' then return refuse(state, EEPOCH) end
    if ack > member.sent then return refuse(state, ELOST) end
    local events = eventsAfter(state, member, ack > member.acked and ack or member.acked)
    if not events then return refuse(state, ELOST) end
    if kind == 'lock' and state.phase == 'recover' then return refuse(state, ERECOVER) end
    if rid ~= 0 and rid <= member.lastRid then return repeated(state, member, rid, ack, events) end
    if rid > member.lastRid + 1 then return reply(state, EGAP, 0, eventsAfter(state, member, member.acked)) end

    state.caller, state.fresh = slot, events
    trim(state, member, ack)
    rc, value = execute(state, member, text, at, args[2])
    if state.isLost then return refuse(state, ELOST) end
    local stays = state.members[slot] == member
    if rid ~= 0 and stays then
      member.lastRid = rid
      changed(state, member)
      state.place, state.answer = placeOf(slot, rid), struct.pack('<ddd', rid, rc, value)
    end
    local answer = reply(state, rc, value, stays and state.fresh or nil, parts and parts(state))
    return finish(state, answer, kind ~= 'member')
  end
end

local function hello(keys, args)
  local state = loadFor(keys, args)
  local rc = usable(state)
  if rc == ENOLS then return refuse(state, rc) end
  if rc == EPROTO then return reply(state, rc, 0) end
  local parts = aboutPart(state) .. conflictsPart(state) .. ',"lsid":' .. cjson.encode(state.lsid) .. serverPart()
  -- A Redis that was restored from a backup: that nobody is there any more proves nothing.
  return reply(state, rc, 0, nil, rc == EIDENT and parts .. ',"mayHaveForgotten":true' or parts)
end

local function format(keys, args)
  local call = cjson.decode(args[2])
  local state = loadFor(keys, args)
  local rc = usable(state)
  if rc == OK then return reply(state, EEXIST, 0) end
  if rc == EPROTO or (rc == EIDENT and call.replaces ~= state.lsid) then return reply(state, rc, 0) end
  state.reset, state.aboutChanged, state.changed = true, true, true
  state.lsid, state.replid, state.schema, state.phase = call.lsid, serverIdentity(), SCHEMA, 'run'
  state.epoch = math.max(state.epoch, call.epoch) + 1
  state.seq, state.generation, state.lkid, state.count = 1, 0, 0, 0
  state.slots, state.leaseMs, state.lvbSize, state.code, state.fencing = 0, 0, 0, '', ''
  return finish(state, reply(state, OK, 0))
end

local function join(keys, args)
  local call = cjson.decode(args[2])
  local state = loadFor(keys, args)
  local rc, value = usable(state), 0
  if rc ~= OK then return refuse(state, rc) end
  rc, value = addMember(state, call)
  return finish(state, reply(state, rc, value, state.fresh, aboutPart(state)))
end

local function recover(keys, args)
  local call = cjson.decode(args[2])
  local state = loadFor(keys, args)
  local identity = serverIdentity()
  if call.server and call.server ~= identity then return refuse(state, EIDENT) end
  if state.exists and state.schema ~= SCHEMA then return reply(state, EPROTO, 0) end
  local rc, value = report(state, call, args[2], identity)
  local parts = membersPart(state) .. conflictsPart(state)
  return finish(state, reply(state, rc, value, rc == OK and state.fresh or nil, parts))
end

-- The events themselves go with the reply, those of all mailboxes one after the other.
local function dumpMailbox(state, member, events)
  local unread = eventsAfter(state, member, member.acked) or {}
  for _, event in ipairs(unread) do table.insert(events, event) end
  local places = {}
  for at = 0, REPLY_RING - 1 do table.insert(places, placeOf(member.slot, at)) end
  local ring = {}
  for _, kept in ipairs(redis.call('HMGET', state.keys[1], unpack(places))) do
    local rid, rc, value = readAnswer(kept)
    if rid then table.insert(ring, { rid, '[' .. rid .. ',' .. rc .. ',' .. value .. ']' }) end
  end
  table.sort(ring, function(a, b) return a[1] < b[1] end)
  local rows = {}
  for _, row in ipairs(ring) do table.insert(rows, row[2]) end
  return '{"slot":' .. member.slot .. ',"lastRid":' .. member.lastRid .. ',"sent":' .. member.sent .. ',"acked":'
    .. member.acked .. ',"events":' .. #unread .. ',"ring":' .. array(rows) .. '}'
end

local function dumpResource(r)
  local locks = {}
  for _, queue in ipairs({ { 'g', r.granted }, { 'c', r.convert }, { 'w', r.wait } }) do
    for _, l in ipairs(queue[2]) do
      l.queue = queue[1]
      table.insert(locks, cjson.encode(l))
    end
  end
  return '{"name":' .. cjson.encode(r.name) .. (r.lvb and ',"lvb":' .. cjson.encode(r.lvb) or '') .. ',"lvbSeq":'
    .. r.lvbSeq .. ',"lvbInvalid":' .. tostring(r.lvbInvalid) .. ',"locks":' .. array(locks) .. '}'
end

local function dumpReport(state, member)
  local locks = {}
  for _, l in ipairs(reportOf(state, member).locks) do table.insert(locks, cjson.encode(l)) end
  return '{"slot":' .. member.slot .. ',"locks":' .. array(locks) .. '}'
end

local function dump(keys, args)
  local state = loadFor(keys, args)
  local rc = usable(state)
  if rc ~= OK then return refuse(state, rc) end
  local resources, mailboxes, reports, events = {}, {}, {}, {}
  for _, r in ipairs(allResources(state)) do table.insert(resources, dumpResource(r)) end
  for _, member in ipairs(allMembers(state)) do
    table.insert(mailboxes, dumpMailbox(state, member, events))
    if state.phase == 'recover' and reportOf(state, member) then table.insert(reports, dumpReport(state, member)) end
  end
  local parts = membersPart(state) .. ',"resources":' .. array(resources) .. ',"mailboxes":' .. array(mailboxes)
  if state.phase == 'recover' then parts = parts .. ',"reports":' .. array(reports) .. conflictsPart(state) end
  return reply(state, OK, 0, events, parts)
end

local function register(name, callback, flag)
  registerFunction({ function_name = '@LIBRARY@_' .. name, callback = ready(callback), flags = { flag } })
end

-- Codes are those of lock-status.ts. Every function may answer ENOLS (no lockspace), EPROTO (another schema) and EIDENT
-- (another life of the server); the calls of a member also EEPOCH, ELOST, EFENCED, EGAP and ESTALE (lock-call.ts).

-- What there is. Reads only.
register('hello', hello, 'no-writes')
-- Everything there is, as a value. Reads only; O(locks).
register('dump', dump, 'no-writes')
-- Creates the lockspace. EEXIST.
register('format', format, 'allow-oom')
-- Takes the lowest free slot; removes whom the caller proves dead first. EBUSY, EPROTO, ERANGE, ERECOVER, EFENCED.
register('join', join, 'allow-oom')
-- A member's report of its locks; the last one rebuilds the table. EFENCED, ECONFLICT, EPROTO, EINVAL; O(locks).
register('recover', recover, 'allow-oom')
-- Events only.
register('poll', memberFunction('read', memberCalls.poll, phasePart), 'allow-oom')
-- The caller lives. Answers with all members, or with their counters.
register('renew', memberFunction('read', memberCalls.renew, renewedPart), 'allow-oom')
-- One record of res, O(locks on it), each: EINVAL, ERECOVER;
-- lock also ERANGE, the others ENOENT and EBUSY. value: the new lock's id.
register('lock', memberFunction('lock', lockCalls.lock), 'allow-oom')
register('convert', memberFunction('lock', lockCalls.convert), 'allow-oom')
register('unlock', memberFunction('lock', lockCalls.unlock), 'allow-oom')
-- Up to 32 conversions, as many as are granted at once. value: how many were accepted.
register('batch', memberFunction('lock', lockCalls.batch), 'allow-oom')
-- Removes a member and its locks. EALIVE, EBUSY; O(locks).
register('evict', memberFunction('member', memberCalls.evict), 'allow-oom')
-- The two phases of fencing; the second one removes as evict does. EALIVE, EBUSY, ENOENT, EINVAL; ESTALE. value: the token.
register('fence_begin', memberFunction('member', memberCalls.fence_begin), 'allow-oom')
register('fence_result', memberFunction('member', memberCalls.fence_result), 'allow-oom')
-- Removes the caller and its locks. O(locks).
register('leave', memberFunction('member', memberCalls.leave), 'allow-oom')

end
