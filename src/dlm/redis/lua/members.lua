-- Who is a member: what table-members.ts does. Each call gets its arguments as those of locks.lua do; `json` are those that
-- few calls have. Each returns rc, value.

local function isUnrestate(state, sighting)
  local member = memberOf(state, sighting)
  return member and member.counter == sighting.counter
end

-- prep, then who is gone, then what its locks held up, then done. While the others report their locks nothing is told.
local function removeMember(state, member, dead)
  local node = aboutMember(state, member).node
  forget(state, member)
  if state.phase == 'recover' then
    state.departed[member.incarnation], state.departedChanged = dead, true
    finishRecovery(state)
    return
  end
  state.generation, state.changed = state.generation + 1, true
  tellAll(state, '"type":"prep"')
  tellAll(state, aboutSlot(dead and 'failed' or 'left', member.slot, node))
  for _, r in ipairs(allResources(state)) do
    local before = countLocks(r)
    removeLocksOf(r, member.slot, dead, state)
    if countLocks(r) ~= before then keep(state, r) end
  end
  tellDone(state)
end

local memberCalls = {}

function memberCalls.poll() return OK, 0 end

function memberCalls.renew(state, member, text, at)
  local counter, knows, known = struct.unpack('<ddd', text, at)
  state.isLost = isIncomplete(state)
  if counter > member.counter then
    member.counter = counter
    restate(state, member)
  end
  if knows > member.knows then
    member.knows = knows
    restate(state, member)
  end
  state.known = known
  return OK, 0
end

function memberCalls.leave(state, member)
  touch(state)
  removeMember(state, member, false)
  return OK, 0
end

function memberCalls.evict(state, _, _, _, json)
  local call = cjson.decode(json)
  local victim = memberOf(state, call.victim)
  if not victim then return OK, 0 end -- somebody was faster
  if call.evidence == 'lease' and victim.state == 'fencing' then return EBUSY, 0 end
  if call.evidence ~= 'operator' and victim.counter ~= call.victim.counter then return EALIVE, 0 end
  touch(state)
  removeMember(state, victim, true)
  return OK, 0
end

local function isActive(state, incarnation)
  for _, member in ipairs(allMembers(state)) do
    if member.incarnation == incarnation then return member.state == 'active' end
  end
  return false
end

function memberCalls.fence_begin(state, owner, _, _, json)
  local call = cjson.decode(json)
  local victim = memberOf(state, call.victim)
  if not victim then return ENOENT, 0 end
  if victim == owner then return EINVAL, 0 end
  if victim.state == 'fencing' then
    if victim.owner == owner.incarnation then return OK, victim.token end
    if call.takesOver ~= victim.token and isActive(state, victim.owner) then return EBUSY, victim.token end
    touch(state)
    victim.token, victim.owner = state.seq, owner.incarnation
    restate(state, victim)
    return OK, state.seq
  end
  if victim.counter ~= call.victim.counter then return EALIVE, 0 end
  touch(state)
  local token = state.seq
  victim.token, victim.owner, victim.tries = token, owner.incarnation, 0
  victim.state = 'fencing'
  restate(state, victim)
  if state.phase == 'run' then
    -- Members that know of this generation know who is being fenced.
    state.generation, state.changed = state.generation + 1, true
    tellAll(state, '"type":"prep"')
  end
  return OK, token
end

function memberCalls.fence_result(state, _, _, _, json)
  local call = cjson.decode(json)
  local victim = memberOf(state, call.victim)
  if not victim then return OK, 0 end
  if victim.state ~= 'fencing' or victim.token ~= call.token then return ESTALE, 0 end
  touch(state)
  if call.ok then
    removeMember(state, victim, true)
  else
    victim.tries = victim.tries + 1
    restate(state, victim)
  end
  return OK, 0
end

local function addMember(state, call)
  for _, member in ipairs(allMembers(state)) do
    if member.incarnation == call.incarnation then
      if member.state == 'active' then
        state.fresh = eventsAfter(state, member, member.acked) or {}
        return OK, member.slot
      end
      return EFENCED, 0
    end
  end
  for _, sighting in ipairs(call.gone) do
    if isUnrestate(state, sighting) then removeMember(state, memberAt(state, sighting.slot), true) end
  end
  if state.phase == 'recover' then return ERECOVER, 0 end
  local members = allMembers(state)
  for _, member in ipairs(members) do
    if member.state == 'fencing' or aboutMember(state, member).node == call.node then return EBUSY, 0 end
  end
  if #members == 0 then
    state.slots, state.leaseMs, state.lvbSize = call.slots, call.leaseMs, call.lvbSize
    state.fencing, state.code, state.aboutChanged = call.fencing, call.code, true
  elseif not sameSettings(state, call, call.code) then
    return EPROTO, 0
  end
  local slot = 1
  while slot <= state.slots and memberAt(state, slot) do slot = slot + 1 end
  if slot > state.slots or (call.limit and slot > call.limit) then return ERANGE, 0 end

  touch(state)
  state.generation = state.generation + 1
  tellAll(state, '"type":"prep"')
  tellAll(state, aboutSlot('joined', slot, call.node))
  addNewMember(state, slot, call, 'active', 0, state.generation)
  note(state, 'left', slot) -- what an earlier lockspace may have left in its mailbox
  state.caller = slot
  tellDone(state)
  return OK, slot
end
