-- Lock calls of a member: what table-locks.ts and lock-validation.ts do. Each returns rc, value.

local isHeldLock, touch
local lockCalls = {}

-- The files are one function of Lua, which has room for 200 locals: what no other file uses is in a block.
do

local function badBuffer(flags, lvb, lvbSize)
  if lvb == nil then return has(flags, VALBLK) end
  return #lvb > 4 * math.ceil(lvbSize / 3)
end

local function isMode(mode) return mode >= 0 and mode <= 5 and mode == math.floor(mode) end

local function isName(name) return #name >= 1 and #name <= 64 and not string.find(name, '[^ -~]') end

local BATCH_LIMIT = 32

-- Flags that each call may carry, as lock-validation.ts has them.
local ON_ALL = NOQUEUE + VALBLK + NOQUEUEBAST + HEADQUE + NOORDER + ALTPR + ALTCW
local ON_REQUEST = ON_ALL + EXPEDITE + NODLCKWT
local ON_CONVERT = ON_ALL + CONVERT + QUECVT + IVVALBLK + CONVDEADLK + NODLCKWT
local ON_UNLOCK = CANCEL + VALBLK + IVVALBLK + FORCEUNLOCK

local function only(flags, allowed) return bit.band(flags, bit.bnot(allowed)) == 0 end

local function checkRequest(call, lvbSize)
  if not isName(call.name) or not isMode(call.mode) or not only(call.flags, ON_REQUEST) then return EINVAL end
  if has(call.flags, EXPEDITE) and (call.mode ~= NL or has(call.flags, NOQUEUE)) then return EINVAL end
  return badBuffer(call.flags, call.lvb, lvbSize) and EINVAL or OK
end

local function checkConvert(call, lvbSize)
  if not isMode(call.mode) or not only(call.flags, ON_CONVERT) then return EINVAL end
  if has(call.flags, CONVDEADLK) and has(call.flags, NOQUEUE) then return EINVAL end
  return badBuffer(call.flags, call.lvb, lvbSize) and EINVAL or OK
end

local function checkUnlock(call, lvbSize)
  if not only(call.flags, ON_UNLOCK) then return EINVAL end
  if has(call.flags, CANCEL) and has(call.flags, FORCEUNLOCK) then return EINVAL end
  return badBuffer(call.flags, call.lvb, lvbSize) and EINVAL or OK
end

-- A lock as it may be reported.
function isHeldLock(l, lvbSize)
  local modes
  if l.queue == 'g' then modes = isMode(l.gr) and l.rq == NONE
  elseif l.queue == 'c' then modes = isMode(l.gr) and isMode(l.rq)
  else modes = l.queue == 'w' and l.gr == NONE and isMode(l.rq) end
  return modes and isName(l.name) and l.lkid > 0 and not badBuffer(0, l.lvb, lvbSize)
end

-- Requested modes that QUECVT may be used for, by granted mode.
local QUECVT_ALLOWED = { [NL] = '12345', [1] = '2345', [CW] = '345', [PR] = '245', [PW] = '5', [EX] = '' }

local function quecvtAllowed(granted, requested)
  return string.find(QUECVT_ALLOWED[granted] or '', tostring(requested), 1, true) ~= nil
end

function touch(state)
  state.seq = state.seq + 1
  state.changed = true
end

function lockCalls.lock(state, member, call)
  local rc = checkRequest(call, state.lvbSize)
  if rc ~= OK then return rc, 0 end
  local r = resourceAt(state, call.name)
  if r and countLocks(r) >= MOST_LOCKS_ON_ONE or not r and state.count >= MOST_RESOURCES then return ERANGE, 0 end
  touch(state)
  state.lkid = state.lkid + 1
  if not r then
    r = emptyResource(call.name)
    addResource(state, r)
  end
  local l = {
    lkid = state.lkid, slot = member.slot, gr = NONE, rq = call.mode, ex = call.flags, sb = 0, hi = 0,
    bast = call.bast, lvbSeq = 0, order = state.seq,
  }
  requestLock(r, l, state)
  keep(state, r)
  return OK, l.lkid
end

-- rc, and whether it was granted at once.
local function convertOne(state, member, step)
  local rc = checkConvert(step, state.lvbSize)
  if rc ~= OK then return rc, false end
  local r = resourceAt(state, step.name)
  local l = r and lockOn(r, member.slot, step.lkid)
  if not l then return ENOENT, false end
  if has(step.flags, QUECVT) and not quecvtAllowed(l.gr, step.mode) then return EINVAL, false end
  if not indexOf(r.granted, l) then return EBUSY, false end
  touch(state)
  local asOf = state.seq
  local granted = convertLock(r, l, step.mode, step.flags, step.lvb, state)
  if indexOf(r.convert, l) then l.order = asOf end
  keep(state, r)
  return OK, granted
end

function lockCalls.convert(state, member, call)
  local rc = convertOne(state, member, call)
  return rc, 0
end

function lockCalls.batch(state, member, call)
  if #call.steps == 0 or #call.steps > BATCH_LIMIT then return EINVAL, 0 end
  for done, step in ipairs(call.steps) do
    local rc, granted = convertOne(state, member, step)
    if rc ~= OK then return rc, done - 1 end
    if not granted then return OK, done end
  end
  return OK, #call.steps
end

function lockCalls.unlock(state, member, call)
  local rc = checkUnlock(call, state.lvbSize)
  if rc ~= OK then return rc, 0 end
  local r = resourceAt(state, call.name)
  local l = r and lockOn(r, member.slot, call.lkid)
  if not l then return ENOENT, 0 end
  if has(call.flags, CANCEL) then
    touch(state)
    cancelLock(r, l, state)
  else
    if not has(call.flags, FORCEUNLOCK) and not indexOf(r.granted, l) then return EBUSY, 0 end
    touch(state)
    unlockLock(r, l, call.flags, call.lvb, state)
  end
  keep(state, r)
  return OK, 0
end

end
