-- The calls: what lock-table.ts does, on the state of state.lua. Each is one atomic function that takes the call as
-- JSON and returns the reply as JSON. Every refusal is a reply, never a Redis error.

local function badBuffer(flags, lvb, lvbSize)
  if has(flags, VALBLK) and lvb == nil then return true end
  return lvb ~= nil and #lvb > 4 * math.ceil(lvbSize / 3)
end

local function isMode(mode) return mode >= 0 and mode <= 5 and mode == math.floor(mode) end

local function only(flags, allowed) return bit.band(flags, bit.bnot(allowed)) == 0 end

local function onAll()
  return bit.bor(NOQUEUE, VALBLK, NOQUEUEBAST, HEADQUE, NOORDER, ALTPR, ALTCW)
end

local function checkRequest(call, lvbSize)
  if #call.name < 1 or #call.name > 64 or string.find(call.name, '[^ -~]') then return EINVAL end
  if not isMode(call.mode) or not only(call.flags, bit.bor(onAll(), EXPEDITE, NODLCKWT)) then return EINVAL end
  if has(call.flags, EXPEDITE) and (call.mode ~= NL or has(call.flags, NOQUEUE)) then return EINVAL end
  return badBuffer(call.flags, call.lvb, lvbSize) and EINVAL or OK
end

local function checkConvert(call, lvbSize)
  local allowed = bit.bor(onAll(), CONVERT, QUECVT, IVVALBLK, CONVDEADLK, NODLCKWT)
  if not isMode(call.mode) or not only(call.flags, allowed) then return EINVAL end
  if has(call.flags, CONVDEADLK) and has(call.flags, NOQUEUE) then return EINVAL end
  return badBuffer(call.flags, call.lvb, lvbSize) and EINVAL or OK
end

local function checkUnlock(call, lvbSize)
  if not only(call.flags, bit.bor(CANCEL, VALBLK, IVVALBLK, FORCEUNLOCK)) then return EINVAL end
  if has(call.flags, CANCEL) and has(call.flags, FORCEUNLOCK) then return EINVAL end
  return badBuffer(call.flags, call.lvb, lvbSize) and EINVAL or OK
end

-- Requested modes that QUECVT may be used for, by granted mode.
local QUECVT_ALLOWED = { [NL] = '12345', [1] = '2345', [CW] = '345', [PR] = '245', [PW] = '5', [EX] = '' }

local function quecvtAllowed(granted, requested)
  return string.find(QUECVT_ALLOWED[granted] or '', int(requested), 1, true) ~= nil
end

local function touch(state)
  state.seq = state.seq + 1
  state.changed = true
end

local function isUnchanged(state, sighting)
  local member = memberOf(state, sighting.slot)
  return member and member.incarnation == sighting.incarnation and member.counter == sighting.counter
end

-- prep, then who is gone, then what its locks held up, then done.
local function removeMember(state, slot, dead)
  local member = memberOf(state, slot)
  if not member then return end
  state.members[slot] = false
  state.generation = state.generation + 1
  write(state, 'HDEL', state.keys[2], 'n:' .. slot, 'c:' .. slot, 'q:' .. slot, 'k:' .. slot, 'r:' .. slot)
  local ring = { 'HDEL', state.keys[4] }
  for at = 0, REPLY_RING - 1 do table.insert(ring, slot .. ':' .. at) end
  write(state, unpack(ring))
  write(state, 'DEL', state.keys[4 + slot])
  tellAll(state, { type = 'prep' })
  tellAll(state, { type = dead and 'failed' or 'left', slot = slot, node = member.node })
  local emit = notifier(state)
  for _, name in ipairs(resourceNames(state)) do
    local r = resourceOf(state, name)
    removeLocksOf(r, slot, dead, emit)
    storeResource(state, r)
  end
  tellDone(state)
  state.changed = true
end

local operations = {}

function operations.poll() return OK, 0 end

function operations.renew(state, member, call)
  if call.counter > member.counter then
    member.counter = call.counter
    write(state, 'HSET', state.keys[2], 'c:' .. member.slot, int(call.counter))
  end
  return OK, 0
end

function operations.lock(state, member, call)
  local rc = checkRequest(call, state.lvbSize)
  if rc ~= OK then return rc, 0 end
  touch(state)
  state.lkid = state.lkid + 1
  local r = resourceOf(state, call.name)
  local l = {
    lkid = state.lkid, slot = member.slot, gr = NONE, rq = call.mode, ex = call.flags, sb = 0, hi = 0,
    bast = call.bast, lvbSeq = 0,
  }
  requestLock(r, l, notifier(state))
  storeResource(state, r)
  return OK, l.lkid
end

function operations.convert(state, member, call)
  local rc = checkConvert(call, state.lvbSize)
  if rc ~= OK then return rc, 0 end
  local r = resourceOf(state, call.name)
  local l = lockOf(r, member.slot, call.lkid)
  if not l then return ENOENT, 0 end
  if has(call.flags, QUECVT) and not quecvtAllowed(l.gr, call.mode) then return EINVAL, 0 end
  if not indexOf(r.granted, l) then return EBUSY, 0 end
  touch(state)
  convertLock(r, l, call.mode, call.flags, call.lvb, notifier(state))
  storeResource(state, r)
  return OK, 0
end

function operations.unlock(state, member, call)
  local rc = checkUnlock(call, state.lvbSize)
  if rc ~= OK then return rc, 0 end
  local r = resourceOf(state, call.name)
  local l = lockOf(r, member.slot, call.lkid)
  if not l then return ENOENT, 0 end
  if has(call.flags, CANCEL) then
    touch(state)
    cancelLock(r, l, notifier(state))
  else
    if not has(call.flags, FORCEUNLOCK) and not indexOf(r.granted, l) then return EBUSY, 0 end
    touch(state)
    unlockLock(r, l, call.flags, call.lvb, notifier(state))
  end
  storeResource(state, r)
  return OK, 0
end

function operations.evict(state, _, call)
  local victim = memberOf(state, call.victim.slot)
  if not victim or victim.incarnation ~= call.victim.incarnation then return OK, 0 end
  if not isUnchanged(state, call.victim) then return EALIVE, 0 end
  touch(state)
  removeMember(state, call.victim.slot, true)
  return OK, 0
end

function operations.leave(state, member)
  touch(state)
  removeMember(state, member.slot, false)
  return OK, 0
end

-- The lockspace, or the code of why it cannot be used.
local function open(keys)
  local state = load(keys)
  if not state.exists then return state, ENOLS end
  if state.schema ~= SCHEMA then return state, EPROTO end
  if serverIdentity() ~= state.replid then return state, EIDENT end
  return state, OK
end

local function trim(state, member, ack)
  if ack <= member.acked then return end
  member.acked = ack
  local box = state.keys[4 + member.slot]
  redis.call('XTRIM', box, 'MINID', int(state.epoch) .. '-' .. int(ack + 1))
  redis.call('HSET', state.keys[2], 'k:' .. member.slot, int(ack))
end

local function ofMember(name)
  local execute = operations[name]
  return function(keys, args)
    local call = cjson.decode(args[1])
    local state, rc = open(keys)
    if rc ~= OK then return reply(state, rc, 0) end
    if call.epoch ~= state.epoch then return reply(state, EEPOCH, 0) end
    if call.seen > state.seq then return reply(state, ELOST, 0) end
    local member = memberOf(state, call.slot)
    if not member or member.incarnation ~= call.incarnation then return reply(state, EFENCED, 0) end
    if call.ack > member.sent then return reply(state, ELOST, 0) end

    local place = call.slot .. ':' .. int(call.rid % REPLY_RING)
    if call.rid ~= 0 and call.rid <= member.lastRid then
      local kept = redis.call('HGET', state.keys[4], place)
      local rid, keptRc, keptValue = string.match(kept or '', '^(%d+)|(-?%d+)|(%d+)$')
      if tonumber(rid) ~= call.rid then return reply(state, ESTALE, 0, member) end
      trim(state, member, call.ack)
      return reply(state, tonumber(keptRc), tonumber(keptValue), member)
    end
    if call.rid > member.lastRid + 1 then return reply(state, EGAP, 0, member) end

    local value
    rc, value = execute(state, member, call)
    -- The first write: from here on nothing can fail.
    trim(state, member, call.ack)
    commit(state)
    local stays = state.members[call.slot]
    if call.rid ~= 0 and stays then
      redis.call('HSET', state.keys[2], 'r:' .. call.slot, int(call.rid))
      redis.call('HSET', state.keys[4], place, int(call.rid) .. '|' .. int(rc) .. '|' .. int(value))
    end
    return reply(state, rc, value, stays, 
      name == 'renew' and ',"state":"run","members":' .. sightings(state) or name == 'poll' and ',"state":"run"' or nil)
  end
end

local function about(state)
  return ',"state":"run","members":' .. sightings(state) .. ',"leaseMs":' .. int(state.leaseMs) .. ',"fencing":'
    .. cjson.encode(state.fencing)
end

local function hello(keys)
  local state, rc = open(keys)
  local extra = about(state)
  if state.lsid then extra = extra .. ',"lsid":' .. cjson.encode(state.lsid) end
  -- Redis may have been emptied, or restored from a backup: that there is no lockspace proves nothing.
  if rc ~= OK then extra = extra .. ',"mayHaveForgotten":true,"server":' .. cjson.encode(serverIdentity()) end
  return reply(state, rc, 0, nil, extra)
end

local function format(keys, args)
  local call = cjson.decode(args[1])
  local state, rc = open(keys)
  if rc == OK then return reply(state, EEXIST, 0) end
  if rc == EPROTO or (rc == EIDENT and call.replaces ~= state.lsid) then return reply(state, rc, 0) end
  state.epoch = math.max(state.epoch, call.epoch) + 1
  state.seq, state.generation = 1, 0
  redis.call('DEL', keys[1], keys[2], keys[3], keys[4])
  redis.call('HSET', keys[1], 'schema', SCHEMA, 'lsid', call.lsid, 'replid', serverIdentity(), 'epoch', int(state.epoch),
    'seq', '1')
  return reply(state, OK, 0)
end

local function addMember(state, call)
  for _, member in ipairs(allMembers(state)) do
    if member.incarnation == call.incarnation then return OK, member.slot end
  end
  for _, sighting in ipairs(call.gone) do
    if isUnchanged(state, sighting) then removeMember(state, sighting.slot, true) end
  end
  local members = allMembers(state)
  for _, member in ipairs(members) do
    if member.node == call.node then return EBUSY, 0 end
  end
  if #members == 0 then
    state.slots, state.leaseMs, state.lvbSize = call.slots, call.leaseMs, call.lvbSize
    state.fencing, state.code = call.fencing, call.code
  elseif state.slots ~= call.slots or state.leaseMs ~= call.leaseMs or state.lvbSize ~= call.lvbSize
    or state.fencing ~= call.fencing or state.code ~= call.code then
    return EPROTO, 0
  end
  local slot = 1
  while slot <= state.slots and memberOf(state, slot) do slot = slot + 1 end
  if slot > state.slots then return ERANGE, 0 end

  touch(state)
  state.generation = state.generation + 1
  tellAll(state, { type = 'prep' })
  tellAll(state, { type = 'joined', slot = slot, node = call.node })
  state.members[slot] = {
    slot = slot, node = call.node, incarnation = call.incarnation, process = call.process, counter = 0, lastRid = 0,
    sent = 0, acked = 0, length = 0,
  }
  local about = cjson.encode({ node = call.node, inc = call.incarnation, process = call.process })
  write(state, 'DEL', state.keys[4 + slot])
  write(state, 'HSET', state.keys[2], 'n:' .. slot, about, 'c:' .. slot, '0', 'k:' .. slot, '0', 'r:' .. slot, '0')
  tellDone(state)
  return OK, slot
end

local function join(keys, args)
  local call = cjson.decode(args[1])
  local state, rc = open(keys)
  if rc ~= OK then return reply(state, rc, 0) end
  local value
  rc, value = addMember(state, call)
  commit(state)
  return reply(state, rc, value, rc == OK and memberOf(state, value) or nil, about(state))
end

local function dumpMailbox(state, member)
  local ring = {}
  for at = 0, REPLY_RING - 1 do
    local kept = redis.call('HGET', state.keys[4], member.slot .. ':' .. at)
    local rid, rc, value = string.match(kept or '', '^(%d+)|(-?%d+)|(%d+)$')
    if rid then table.insert(ring, { tonumber(rid), '[' .. rid .. ',' .. rc .. ',' .. value .. ']' }) end
  end
  table.sort(ring, function(a, b) return a[1] < b[1] end)
  local rows = {}
  for _, row in ipairs(ring) do table.insert(rows, row[2]) end
  return '{"slot":' .. int(member.slot) .. ',"lastRid":' .. int(member.lastRid) .. ',"sent":' .. int(member.sent)
    .. ',"acked":' .. int(member.acked) .. ',"events":' .. array(eventsOf(state, member)) .. ',"ring":' .. array(rows) .. '}'
end

local function dumpResource(state, name)
  local r = resourceOf(state, name)
  local locks = {}
  for _, row in ipairs(rowsOf(r)) do
    table.insert(locks, cjson.encode({
      lkid = row[1], slot = row[2], queue = row[3], gr = row[4], rq = row[5], ex = row[6], sb = row[7], hi = row[8],
      bast = row[9] == 1, lvbSeq = row[10],
    }))
  end
  return '{"name":' .. cjson.encode(name) .. (r.lvb and ',"lvb":' .. cjson.encode(r.lvb) or '') .. ',"lvbSeq":'
    .. int(r.lvbSeq) .. ',"lvbInvalid":' .. tostring(r.lvbInvalid) .. ',"locks":' .. array(locks) .. '}'
end

local function dump(keys)
  local state, rc = open(keys)
  if rc ~= OK then return reply(state, rc, 0) end
  local resources, mailboxes = {}, {}
  for _, name in ipairs(resourceNames(state)) do table.insert(resources, dumpResource(state, name)) end
  for _, member in ipairs(allMembers(state)) do
    if keys[4 + member.slot] then table.insert(mailboxes, dumpMailbox(state, member)) end
  end
  local extra = ',"state":"run","members":' .. sightings(state) .. ',"resources":' .. array(resources) .. ',"mailboxes":'
    .. array(mailboxes)
  return reply(state, OK, 0, nil, extra)
end

-- allow-oom: giving up a lock and renewing must work when the memory is full.
local function register(name, callback, flag)
  redis.register_function({ function_name = '@LIBRARY@_' .. name, callback = callback, flags = { flag } })
end

register('hello', hello, 'no-writes')
register('dump', dump, 'no-writes')
register('format', format, 'allow-oom')
register('join', join, 'allow-oom')
register('poll', ofMember('poll'), 'allow-oom')
register('renew', ofMember('renew'), 'allow-oom')
register('lock', ofMember('lock'), 'allow-oom')
register('convert', ofMember('convert'), 'allow-oom')
register('unlock', ofMember('unlock'), 'allow-oom')
register('evict', ofMember('evict'), 'allow-oom')
register('leave', ofMember('leave'), 'allow-oom')
