-- Re-mastering: what table-recovery.ts does. The table is rebuilt from what the members report; what lies here is never
-- trusted. A report is kept as the JSON of its recover call until the phase ends.

local function reportOf(state, member)
  if not member.parsed then
    local raw = member.report or redis.call('HGET', state.keys[1], 'p:' .. member.slot)
    member.parsed = raw and cjson.decode(raw) or false
  end
  return member.parsed or nil
end

-- Not a member any more: nothing of it stays.
local function forget(state, member)
  state.members[member.slot] = false
  state.changed = true
  note(state, 'left', member.slot)
  local mail, old = {}, state.mail
  for i = 1, #old, 3 do
    local at = #mail
    if old[i] ~= member then mail[at + 1], mail[at + 2], mail[at + 3] = old[i], old[i + 1], old[i + 2] end
  end
  state.mail = mail
  if state.trim == member then state.trim = nil end
end

local function addNewMember(state, slot, about, standing, counter, knows)
  local member = {
    slot = slot, incarnation = about.incarnation, state = standing, counter = counter, sent = 0, acked = 0, lastRid = 0,
    token = 0, owner = '', tries = 0, knows = knows, changed = false, aboutChanged = true,
    about = { node = about.node, process = about.process },
  }
  state.members[slot] = member
  restate(state, member)
end

-- Everybody on the list has reported.
local function isComplete(state)
  if state.phase ~= 'recover' then return false end
  for _, member in ipairs(allMembers(state)) do
    if member.state ~= 'active' then return false end
  end
  return true
end

-- {name, locks}, sorted by name; each lock with the slot of its owner.
local function reportsByName(state)
  local result, byName = {}, {}
  for _, member in ipairs(allMembers(state)) do
    for _, l in ipairs(reportOf(state, member).locks) do
      if not byName[l.name] then
        byName[l.name] = { name = l.name, locks = {} }
        table.insert(result, byName[l.name])
      end
      l.slot = member.slot
      table.insert(byName[l.name].locks, l)
    end
  end
  table.sort(result, function(a, b) return byteLess(a.name, b.name) end)
  return result
end

-- As JSON, one entry a resource; empty when nothing is in conflict, or not everybody has reported.
local function conflictsOf(state)
  local result = {}
  if not isComplete(state) then return result end
  for _, entry in ipairs(reportsByName(state)) do
    local involved = {}
    for _, a in ipairs(entry.locks) do
      for _, b in ipairs(entry.locks) do
        if a ~= b and not compat(a.gr, b.gr) then
          table.insert(involved, a)
          break
        end
      end
    end
    table.sort(involved, function(a, b)
      if a.slot ~= b.slot then return a.slot < b.slot end
      return a.lkid < b.lkid
    end)
    local rows = {}
    for _, l in ipairs(involved) do table.insert(rows, '{"slot":' .. l.slot .. ',"mode":' .. l.gr .. '}') end
    if #rows > 0 then table.insert(result, '{"name":' .. cjson.encode(entry.name) .. ',"locks":' .. array(rows) .. '}') end
  end
  return result
end

local function rebuiltResource(name, locks)
  local r = emptyResource(name)
  table.sort(locks, function(a, b)
    if a.order ~= b.order then return a.order < b.order end
    if a.slot ~= b.slot then return a.slot < b.slot end
    return a.lkid < b.lkid
  end)
  local queues = { g = r.granted, c = r.convert, w = r.wait }
  local best
  local lastWrite = 0
  for _, l in ipairs(locks) do
    lastWrite = math.max(lastWrite, l.lvbSeq)
    table.insert(queues[l.queue], {
      lkid = l.lkid, slot = l.slot, gr = l.gr, rq = l.rq, ex = l.ex, sb = 0, hi = 0, bast = l.bast, lvbSeq = l.lvbSeq,
      order = l.order,
    })
    -- The value of whoever holds it above CR is the present one; others may have missed the last write.
    if l.lvb then
      local strong = l.gr > CR
      if not best or (strong and best.gr <= CR) then best = l
      elseif strong == (best.gr > CR) then
        if l.lvbSeq > best.lvbSeq or (l.lvbSeq == best.lvbSeq and l.lkid < best.lkid) then best = l end
      end
    end
  end
  if best then
    r.lvb, r.lvbSeq, r.lvbInvalid = best.lvb, best.lvbSeq, best.gr <= CR
  elseif lastWrite > 0 then
    -- A value that its holders know to be invalid is not one that was never written.
    r.lvb, r.lvbSeq, r.lvbInvalid = '', lastWrite, true
  end
  return r
end

-- prep, who is missing, what is granted and whom it blocks, done: numbered from 1 in the new epoch.
local function rebuild(state)
  local byName = reportsByName(state)
  state.phase, state.aboutChanged, state.changed = 'run', true, true
  state.seq = state.seq + 1
  state.generation = state.generation + 1
  tellAll(state, '"type":"prep"')
  for _, member in ipairs(allMembers(state)) do
    local gone = {}
    for _, record in ipairs(reportOf(state, member).members) do
      if not memberOf(state, record) then table.insert(gone, record) end
    end
    table.sort(gone, function(a, b) return a.slot < b.slot end)
    for _, record in ipairs(gone) do
      local kind = state.departed[record.incarnation] == false and 'left' or 'failed'
      tell(state, member.slot, aboutSlot(kind, record.slot, record.node))
    end
  end
  for _, entry in ipairs(byName) do
    local r = rebuiltResource(entry.name, entry.locks)
    addResource(state, r)
    regrant(r, state)
  end
  tellDone(state)
  note(state, 'dropped', 'gone')
  for slot = 1, state.slots do note(state, 'dropped', 'p:' .. slot) end
  for _, member in ipairs(allMembers(state)) do member.report = nil end
  state.departed, state.departedChanged = {}, false
end

-- Does nothing until everybody on the list has reported, or was removed from it, and nothing contradicts.
local function finishRecovery(state)
  if isComplete(state) and #conflictsOf(state) == 0 then rebuild(state) end
end

-- The list of members that counts. Those that have reported, or are being fenced, stay what they are.
local function adopt(state, list)
  local known = allMembers(state)
  local wanted = {}
  for _, record in ipairs(list) do
    if state.departed[record.incarnation] == nil then wanted[record.slot] = record end
  end
  for _, member in ipairs(known) do
    local record = wanted[member.slot]
    if not record or record.incarnation ~= member.incarnation then forget(state, member) end
  end
  for slot, record in pairs(wanted) do
    if not memberAt(state, slot) then addNewMember(state, slot, record, 'absent', record.counter, 0) end
  end
end

local function open(state, call, identity)
  state.reset, state.aboutChanged, state.changed, state.exists = true, true, true, true
  state.lsid, state.phase, state.schema, state.replid = call.lsid, 'recover', SCHEMA, identity
  state.epoch = math.max(state.epoch, call.epoch) + 1
  state.generation = call.generation
  local settings = call.settings
  state.slots, state.leaseMs, state.lvbSize = settings.slots, settings.leaseMs, settings.lvbSize
  state.fencing, state.code = settings.fencing, call.code
  state.resources, state.count, state.departed = {}, 0, {}
  state.members, state.allLoaded = {}, true
  for slot = 1, state.slots do state.members[slot] = false end
  adopt(state, call.members)
end

local function sameSettings(state, settings, code)
  return state.slots == settings.slots and state.leaseMs == settings.leaseMs and state.lvbSize == settings.lvbSize
    and state.fencing == settings.fencing and state.code == code
end

-- Whoever was being fenced when the state was lost stays so, also if it has reported.
local function stayFenced(state, record, reporter)
  local member = memberOf(state, record)
  if not member or member.state == 'fencing' or member.incarnation == reporter then return end
  local fence = record.fence or { owner = reporter, tries = 0 }
  state.seq = state.seq + 1
  member.state = 'fencing'
  restate(state, member)
  member.token, member.owner, member.tries = state.seq, fence.owner, fence.tries
end

local function checkIn(state, call, raw)
  if not sameSettings(state, call.settings, call.code) then return EPROTO end
  if call.generation > state.generation then
    state.generation, state.changed = call.generation, true
    adopt(state, call.members)
  end
  local member = memberOf(state, call)
  if not member or member.state == 'fencing' then
    finishRecovery(state)
    return EFENCED
  end
  if call.counter < member.counter then
    finishRecovery(state)
    return ESTALE
  end
  state.changed = true
  state.seq = math.max(state.seq, call.seen)
  state.lkid = math.max(state.lkid, call.lkid)
  member.counter = call.counter
  member.state, member.lastRid, member.knows = 'active', call.lastRid, call.generation
  restate(state, member)
  member.report, member.parsed = raw, call
  for _, record in ipairs(call.members) do
    if record.state == 'fencing' then stayFenced(state, record, call.incarnation) end
  end
  finishRecovery(state)
  return #conflictsOf(state) > 0 and ECONFLICT or OK
end

-- Nothing in it contradicts itself.
local function isSound(call)
  for _, field in ipairs({ 'epoch', 'seen', 'lkid', 'generation', 'lastRid', 'counter' }) do
    if call[field] >= MOST then return false end
  end
  local taken = {}
  for _, record in ipairs(call.members) do
    if taken[record.slot] or record.slot < 1 or record.slot > call.settings.slots then return false end
    taken[record.slot] = true
  end
  for _, l in ipairs(call.locks) do
    if not isHeldLock(l, call.settings.lvbSize) then return false end
  end
  return true
end

-- A report, which opens the recovery if there is none yet. rc, value.
local function report(state, call, raw, identity)
  if not isSound(call) then return EINVAL, 0 end
  if not state.exists then
    open(state, call, identity)
  elseif state.lsid ~= call.lsid then
    return EFENCED, 0
  elseif state.replid ~= identity then
    open(state, call, identity)
  elseif state.phase == 'run' then
    local member = memberOf(state, call)
    local broken = isIncomplete(state)
      or (member and not eventsAfter(state, member, member.acked))
    -- Numbers of an older epoch say nothing of this one: who was evicted in between may have seen higher ones.
    local wentBack = state.epoch == call.epoch and state.seq < call.seen
    if not broken and state.epoch >= call.epoch and not wentBack then
      -- One that has reported already, and asks again because the answer was lost.
      if not member or member.state ~= 'active' then return EFENCED, 0 end
      state.fresh = eventsAfter(state, member, member.acked)
      return OK, call.slot
    end
    open(state, call, identity)
  elseif state.epoch <= call.epoch then
    open(state, call, identity) -- who has reported below this epoch may have gone on in it meanwhile
  end
  state.caller = call.slot
  local rc = checkIn(state, call, raw)
  return rc, (rc == OK or rc == ECONFLICT) and call.slot or 0
end
