-- Lock calls of a member: what table-locks.ts and lock-validation.ts do. Each gets its arguments as packed text and where
-- they begin in it (redis-wire.ts), and returns rc, value.

local isHeldLock, touch
local lockCalls = {}

-- The files are one function of Lua, which has room for 200 locals: what no other file uses is in a block.
do

local function badBuffer(flags, lvb, lvbSize)
  if lvb == nil then return has(flags, VALBLK) end
  return #lvb > 0 and #lvb > 4 * math.ceil(lvbSize / 3)
end

local function isMode(mode) return mode >= 0 and mode <= 5 and mode % 1 == 0 end

local function isName(name) return #name >= 1 and #name <= 64 and not string.find(name, '[^ -~]') end

local BATCH_LIMIT = 32

-- Flags that each call may carry, as lock-validation.ts has them; and all others.
local ALL = 0xFFFFFFFF
local ON_ALL = NOQUEUE + VALBLK + NOQUEUEBAST + HEADQUE + NOORDER + ALTPR + ALTCW
local NOT_ON_REQUEST = ALL - (ON_ALL + EXPEDITE + NODLCKWT)
local NOT_ON_CONVERT = ALL - (ON_ALL + CONVERT + QUECVT + IVVALBLK + CONVDEADLK + NODLCKWT)
local NOT_ON_UNLOCK = ALL - (CANCEL + VALBLK + IVVALBLK + FORCEUNLOCK)

local function checkRequest(name, mode, flags, lvb, lvbSize)
  if not isName(name) or not isMode(mode) or bit.band(flags, NOT_ON_REQUEST) ~= 0 then return EINVAL end
  if has(flags, EXPEDITE) and (mode ~= NL or has(flags, NOQUEUE)) then return EINVAL end
  return badBuffer(flags, lvb, lvbSize) and EINVAL or OK
end

local function checkConvert(mode, flags, lvb, lvbSize)
  if not isMode(mode) or bit.band(flags, NOT_ON_CONVERT) ~= 0 then return EINVAL end
  if flags >= CONVDEADLK and has(flags, CONVDEADLK) and has(flags, NOQUEUE) then return EINVAL end
  return badBuffer(flags, lvb, lvbSize) and EINVAL or OK
end

local function checkUnlock(flags, lvb, lvbSize)
  if bit.band(flags, NOT_ON_UNLOCK) ~= 0 then return EINVAL end
  if has(flags, CANCEL) and has(flags, FORCEUNLOCK) then return EINVAL end
  return badBuffer(flags, lvb, lvbSize) and EINVAL or OK
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

-- What each call, and each step of a batch, consists of: lkid (of a new lock: 1, if it wants basts), mode, flags, name, value.
-- A value that is not there is one of no bytes with 0 before it.
local STEP = '<dddIc0BIc0'

function lockCalls.lock(state, member, text, at)
  local bast, mode, flags, name, hasValue, lvb = struct.unpack(STEP, text, at)
  local rc = checkRequest(name, mode, flags, hasValue == 1 and lvb or nil, state.lvbSize)
  if rc ~= OK then return rc, 0 end
  local r = resourceAt(state, name)
  if r and countLocks(r) >= MOST_LOCKS_ON_ONE or not r and state.count >= MOST_RESOURCES then return ERANGE, 0 end
  touch(state)
  state.lkid, state.weight = state.lkid + 1, state.weight + 1
  if not r then
    r = emptyResource(name)
    addResource(state, r)
  end
  local l = {
    lkid = state.lkid, slot = member.slot, gr = NONE, rq = mode, ex = flags, sb = 0, hi = 0, bast = bast == 1, lvbSeq = 0,
    order = state.seq,
  }
  requestLock(r, l, state)
  keep(state, r)
  return OK, l.lkid
end

-- rc, whether it was granted at once, and where the next step begins.
local function convertOne(state, member, text, at)
  local lkid, mode, flags, name, hasValue, lvb, next = struct.unpack(STEP, text, at)
  if hasValue == 0 then lvb = nil end
  local rc = checkConvert(mode, flags, lvb, state.lvbSize)
  if rc ~= OK then return rc, false end
  local r = resourceAt(state, name)
  if not r then return ENOENT, false end
  local held = findIn(r.granted, member.slot, lkid)
  local l = held or lockOn(r, member.slot, lkid)
  if not l then return ENOENT, false end
  if flags >= QUECVT and has(flags, QUECVT) and not quecvtAllowed(l.gr, mode) then return EINVAL, false end
  if not held then return EBUSY, false end
  touch(state)
  local asOf = state.seq
  local granted = convertLock(r, l, mode, flags, lvb, state)
  if not granted and indexOf(r.convert, l) then l.order = asOf end
  keep(state, r)
  return OK, granted, next
end

function lockCalls.convert(state, member, text, at)
  local rc = convertOne(state, member, text, at)
  return rc, 0
end

function lockCalls.batch(state, member, text, at)
  local count, rc, granted
  count, at = struct.unpack('<d', text, at)
  if count == 0 or count > BATCH_LIMIT then return EINVAL, 0 end
  for step = 1, count do
    rc, granted, at = convertOne(state, member, text, at)
    if rc ~= OK then return rc, step - 1 end
    if not granted then return OK, step end
  end
  return OK, count
end

function lockCalls.unlock(state, member, text, at)
  local lkid, _, flags, name, hasValue, lvb = struct.unpack(STEP, text, at)
  if hasValue == 0 then lvb = nil end
  local rc = checkUnlock(flags, lvb, state.lvbSize)
  if rc ~= OK then return rc, 0 end
  local r = resourceAt(state, name)
  local l = r and lockOn(r, member.slot, lkid)
  if not l then return ENOENT, 0 end
  if has(flags, CANCEL) then
    touch(state)
    cancelLock(r, l, state)
  else
    if not has(flags, FORCEUNLOCK) and not indexOf(r.granted, l) then return EBUSY, 0 end
    touch(state)
    unlockLock(r, l, flags, lvb, state)
  end
  keep(state, r)
  return OK, 0
end

end
