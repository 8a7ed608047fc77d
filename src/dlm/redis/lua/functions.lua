-- The functions, each one atomic step: @LIBRARY@_OP.
--
-- KEYS   those of state.lua.
-- ARGV   1: the call as JSON (lock-call.ts); 2: a mark of this call, so that its reply is not taken for another's
-- reply  the mark, then the reply as JSON (LockReply). Every refusal is a reply with its code in rc, never a Redis error.
-- error  only what no caller can cause: values of a wrong type at our keys. Raised before the first write it has changed
--        nothing; a write that fails takes the whole lockspace away, so that its members rebuild it (state.lua, run).
-- atomic all that is read is read, all that is checked is checked and all that is written is computed, the reply too,
--        before the first write.
-- flags  allow-oom: giving up a lock and renewing must work when the memory is full. hello and dump: no-writes.

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
local function renewedPart(state, call)
  if call.known ~= state.generation or state.phase ~= 'run' then return membersPart(state) end
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
  return string.format('{"rc":%d,"value":%d,"seq":%d,"epoch":%d,"generation":%d,"events":%s%s}', rc, value, state.seq,
    state.epoch, state.generation, events and array(events) or '[]', parts or '')
end

-- Refusals that are answered with a report: it must say which life of the server it is for, lest it come to another.
local function refuse(state, rc)
  local isOther = rc == ENOLS or rc == EIDENT or rc == EEPOCH or rc == ELOST
  return reply(state, rc, 0, nil, isOther and serverPart() .. (rc == ENOLS and ',"mayHaveForgotten":true' or '') or nil)
end

-- Writes, and answers with what was composed before.
local function finish(state, text)
  if commit(state) then return text end
  return refuse(load(state.keys), ENOLS)
end

-- OK, or why a call of `member` is not even looked up in the reply ring; and its unread events.
local function admit(state, member, call, isLockCall)
  if call.epoch ~= state.epoch then return EEPOCH end
  if call.seen > state.seq then return ELOST end
  if not member or member.incarnation ~= call.incarnation or member.state == 'fencing' then return EFENCED end
  if member.state == 'absent' then return EEPOCH end
  if call.ack > member.sent then return ELOST end
  local events = eventsAfter(state, member, math.max(call.ack, member.acked))
  if not events then return ELOST end
  if isLockCall and state.phase == 'recover' then return ERECOVER end
  return OK, events
end

-- Old entries are trimmed when the acknowledgement passes a multiple of 64.
local function trim(state, member, ack)
  if ack <= member.acked then return end
  if math.floor(ack / 64) > math.floor(member.acked / 64) then state.trim = member end
  member.acked, member.changed = ack, true
end

-- rid, rc and value of a place in the reply ring; nothing, if it is empty.
local function readAnswer(raw)
  if raw then return cmsgpack.unpack(raw) end
end

-- A call that was executed before: the same answer, without executing it again.
local function repeated(state, member, call, place, events)
  local rid, rc, value = readAnswer(redis.call('HGET', state.keys[1], place))
  if rid ~= call.rid then return reply(state, ESTALE, 0, eventsAfter(state, member, member.acked)) end
  trim(state, member, call.ack)
  return finish(state, reply(state, rc, value, events))
end

local function memberFunction(execute, isLockCall, parts)
  return function(keys, args)
    local call = cjson.decode(args[1])
    local state = load(keys, call.slot)
    local rc = usable(state)
    if rc ~= OK then return refuse(state, rc) end
    local member = state.members[call.slot]
    local events, value
    rc, events = admit(state, member, call, isLockCall)
    if rc ~= OK then return refuse(state, rc) end
    local place = placeOf(call.slot, call.rid)
    if call.rid ~= 0 and call.rid <= member.lastRid then return repeated(state, member, call, place, events) end
    if call.rid > member.lastRid + 1 then return reply(state, EGAP, 0, eventsAfter(state, member, member.acked)) end

    state.caller, state.fresh = call.slot, events
    trim(state, member, call.ack)
    rc, value = execute(state, member, call)
    if state.isLost then return refuse(state, ELOST) end
    local stays = state.members[call.slot] == member
    if call.rid ~= 0 and stays then
      member.lastRid, member.changed = call.rid, true
      state.place, state.answer = place, cmsgpack.pack(call.rid, rc, value)
    end
    return finish(state, reply(state, rc, value, stays and state.fresh or nil, parts and parts(state, call)))
  end
end

local function hello(keys)
  local state = load(keys)
  local rc = usable(state)
  if rc == ENOLS then return refuse(state, rc) end
  if rc == EPROTO then return reply(state, rc, 0) end
  local parts = aboutPart(state) .. conflictsPart(state) .. ',"lsid":' .. cjson.encode(state.lsid) .. serverPart()
  -- A Redis that was restored from a backup: that nobody is there any more proves nothing.
  return reply(state, rc, 0, nil, rc == EIDENT and parts .. ',"mayHaveForgotten":true' or parts)
end

local function format(keys, args)
  local call = cjson.decode(args[1])
  local state = load(keys)
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
  local call = cjson.decode(args[1])
  local state = load(keys)
  local rc, value = usable(state), 0
  if rc ~= OK then return refuse(state, rc) end
  rc, value = addMember(state, call)
  return finish(state, reply(state, rc, value, state.fresh, aboutPart(state)))
end

local function recover(keys, args)
  local call = cjson.decode(args[1])
  local state = load(keys)
  local identity = serverIdentity()
  if call.server and call.server ~= identity then return refuse(state, EIDENT) end
  if state.exists and state.schema ~= SCHEMA then return reply(state, EPROTO, 0) end
  local rc, value = report(state, call, args[1], identity)
  local parts = membersPart(state) .. conflictsPart(state)
  return finish(state, reply(state, rc, value, rc == OK and state.fresh or nil, parts))
end

local function dumpMailbox(state, member)
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
    .. member.acked .. ',"events":' .. array(eventsAfter(state, member, member.acked) or {}) .. ',"ring":' .. array(rows) .. '}'
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

local function dump(keys)
  local state = load(keys)
  local rc = usable(state)
  if rc ~= OK then return refuse(state, rc) end
  local resources, mailboxes, reports = {}, {}, {}
  for _, r in ipairs(allResources(state)) do table.insert(resources, dumpResource(r)) end
  for _, member in ipairs(allMembers(state)) do
    table.insert(mailboxes, dumpMailbox(state, member))
    if state.phase == 'recover' and reportOf(state, member) then table.insert(reports, dumpReport(state, member)) end
  end
  local parts = membersPart(state) .. ',"resources":' .. array(resources) .. ',"mailboxes":' .. array(mailboxes)
  if state.phase == 'recover' then parts = parts .. ',"reports":' .. array(reports) .. conflictsPart(state) end
  return reply(state, OK, 0, nil, parts)
end

local function register(name, callback, flag)
  local function marked(keys, args) return args[2] .. callback(keys, args) end
  registerFunction({ function_name = '@LIBRARY@_' .. name, callback = ready(marked), flags = { flag } })
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
register('poll', memberFunction(memberCalls.poll, false, phasePart), 'allow-oom')
-- The caller lives. Answers with all members, or with their counters.
register('renew', memberFunction(memberCalls.renew, false, renewedPart), 'allow-oom')
-- One record of res, O(locks on it), each: EINVAL, ERECOVER;
-- lock also ERANGE, the others ENOENT and EBUSY. value: the new lock's id.
register('lock', memberFunction(lockCalls.lock, true), 'allow-oom')
register('convert', memberFunction(lockCalls.convert, true), 'allow-oom')
register('unlock', memberFunction(lockCalls.unlock, true), 'allow-oom')
-- Up to 32 conversions, as many as are granted at once. value: how many were accepted.
register('batch', memberFunction(lockCalls.batch, true), 'allow-oom')
-- Removes a member and its locks. EALIVE, EBUSY; O(locks).
register('evict', memberFunction(memberCalls.evict, false), 'allow-oom')
-- The two phases of fencing; the second one removes as evict does. EALIVE, EBUSY, ENOENT, EINVAL; ESTALE. value: the token.
register('fence_begin', memberFunction(memberCalls.fence_begin, false), 'allow-oom')
register('fence_result', memberFunction(memberCalls.fence_result, false), 'allow-oom')
-- Removes the caller and its locks. O(locks).
register('leave', memberFunction(memberCalls.leave, false), 'allow-oom')
