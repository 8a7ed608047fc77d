-- The lockspace as it lies in Redis, for the time of one call. Everything is read and decided first; what is to be
-- written is collected and written at the very end: an error in the middle of a call leaves nothing half done.
--
-- KEYS: 1 meta (hash), 2 mbr (hash), 3 res (hash), 4 rep (hash), 4+slot mailbox of the slot (stream).
-- mbr, per slot s: n:s JSON {node, inc, process}, c:s renewal counter, q:s last event, k:s acknowledged event,
-- r:s last rid. res: name -> {"v":1,"lvb":..,"ls":lvbSeq,"iv":0|1,"l":[[lkid,slot,queue,gr,rq,ex,sb,hi,bast,lvbSeq]..]}.
-- rep: "s:(rid mod 64)" -> "rid|rc|value".

local SCHEMA = 1
local REPLY_RING = 64
local MAILBOX_LIMIT = 10000
local MAX_SLOTS = 64

local function int(n) return string.format('%.0f', n) end

local function hash(flat)
  local result = {}
  for i = 1, #flat, 2 do result[flat[i]] = flat[i + 1] end
  return result
end

-- cjson writes an empty table as {}.
local function array(jsons) return '[' .. table.concat(jsons, ',') .. ']' end

local function write(state, ...) table.insert(state.writes, { ... }) end

-- Which life of which server this is: changes with every restart and promotion.
local function serverIdentity()
  local info = redis.call('INFO', 'replication')
  local role = string.match(info, 'role:(%a+)')
  return role == 'master' and string.match(info, 'master_replid:(%x+)') or ''
end

local function load(keys)
  local meta = hash(redis.call('HGETALL', keys[1]))
  return {
    keys = keys,
    writes = {},
    exists = meta.lsid ~= nil,
    schema = tonumber(meta.schema or SCHEMA),
    lsid = meta.lsid,
    replid = meta.replid,
    code = meta.code,
    epoch = tonumber(meta.epoch or 0),
    generation = tonumber(meta.gen or 0),
    seq = tonumber(meta.seq or 0),
    lkid = tonumber(meta.lkid or 0),
    slots = tonumber(meta.slots or 0),
    leaseMs = tonumber(meta.leaseMs or 0),
    lvbSize = tonumber(meta.lvbSize or 0),
    fencing = meta.fencing or '',
    members = {},
    resources = {},
    changed = false,
  }
end

-- The member of a slot, or nil.
local function memberOf(state, slot)
  local known = state.members[slot]
  if known ~= nil then return known or nil end
  local raw = redis.call('HMGET', state.keys[2], 'n:' .. slot, 'c:' .. slot, 'q:' .. slot, 'k:' .. slot, 'r:' .. slot)
  local member = false
  if raw[1] then
    local about = cjson.decode(raw[1])
    member = {
      slot = slot,
      node = about.node,
      incarnation = about.inc,
      process = about.process,
      counter = tonumber(raw[2]),
      sent = tonumber(raw[3]),
      acked = tonumber(raw[4]),
      lastRid = tonumber(raw[5]),
    }
  end
  state.members[slot] = member
  return member or nil
end

local function allMembers(state)
  local result = {}
  for slot = 1, MAX_SLOTS do
    if slot > state.slots then break end
    local member = memberOf(state, slot)
    if member then table.insert(result, member) end
  end
  return result
end

local function tell(state, slot, body)
  local member = memberOf(state, slot)
  if not member then return end
  local box = state.keys[4 + slot]
  state.seq = state.seq + 1
  member.sent = member.sent + 1
  member.length = member.length or redis.call('XLEN', box)
  if member.length >= MAILBOX_LIMIT then
    write(state, 'DEL', box)
    member.length = 0
  end
  member.length = member.length + 1
  body.n = member.sent
  body.seq = state.seq
  write(state, 'XADD', box, int(state.epoch) .. '-' .. int(body.n), 'i', member.incarnation, 'e', cjson.encode(body))
  write(state, 'HSET', state.keys[2], 'q:' .. slot, int(member.sent))
  state.changed = true
end

local function tellAll(state, body)
  for _, member in ipairs(allMembers(state)) do
    local own = {}
    for key, value in pairs(body) do own[key] = value end
    tell(state, member.slot, own)
  end
end

local function tellDone(state)
  local members = {}
  for _, member in ipairs(allMembers(state)) do
    table.insert(members, { slot = member.slot, node = member.node })
  end
  tellAll(state, { type = 'done', generation = state.generation, members = members })
end

local function notifier(state)
  return function(notice)
    local l = notice.lock
    if notice.type == 'bast' then
      tell(state, l.slot, { type = 'bast', lkid = l.lkid, mode = notice.mode })
      return
    end
    tell(state, l.slot, {
      type = 'cast', lkid = l.lkid, status = notice.status, mode = notice.mode, flags = l.sb, lvbSeq = l.lvbSeq,
      lvb = notice.lvb,
    })
  end
end

local QUEUES = { g = 'granted', c = 'convert', w = 'wait' }

-- Kept for the rest of the call: a second look must see what the first one changed.
local function resourceOf(state, name)
  if state.resources[name] then return state.resources[name] end
  local r = { name = name, granted = {}, convert = {}, wait = {}, lvbSeq = 0, lvbInvalid = false, recovering = false }
  state.resources[name] = r
  local raw = redis.call('HGET', state.keys[3], name)
  if not raw then return r end
  local record = cjson.decode(raw)
  r.lvb = record.lvb
  r.lvbSeq = record.ls
  r.lvbInvalid = record.iv == 1
  for _, row in ipairs(record.l) do
    table.insert(r[QUEUES[row[3]]], {
      lkid = row[1], slot = row[2], gr = row[4], rq = row[5], ex = row[6], sb = row[7], hi = row[8],
      bast = row[9] == 1, lvbSeq = row[10],
    })
  end
  return r
end

local function rowsOf(r)
  local rows = {}
  for _, queue in ipairs({ 'g', 'c', 'w' }) do
    for _, l in ipairs(r[QUEUES[queue]]) do
      table.insert(rows, { l.lkid, l.slot, queue, l.gr, l.rq, l.ex, l.sb, l.hi, l.bast and 1 or 0, l.lvbSeq })
    end
  end
  return rows
end

local function storeResource(state, r)
  local rows = rowsOf(r)
  if #rows == 0 then
    write(state, 'HDEL', state.keys[3], r.name)
  else
    local record = { v = 1, lvb = r.lvb, ls = r.lvbSeq, iv = r.lvbInvalid and 1 or 0, l = rows }
    write(state, 'HSET', state.keys[3], r.name, cjson.encode(record))
  end
end

local function byteLess(a, b)
  for i = 1, math.min(#a, #b) do
    local x, y = string.byte(a, i), string.byte(b, i)
    if x ~= y then return x < y end
  end
  return #a < #b
end

-- Lua's own < on strings depends on the server's locale.
local function resourceNames(state)
  local names = redis.call('HKEYS', state.keys[3])
  table.sort(names, byteLess)
  return names
end

local function lockOf(r, slot, lkid)
  for _, queue in pairs(QUEUES) do
    for _, l in ipairs(r[queue]) do
      if l.lkid == lkid and l.slot == slot then return l end
    end
  end
  return nil
end

local function commit(state)
  if state.changed then
    write(state, 'HSET', state.keys[1], 'gen', int(state.generation), 'seq', int(state.seq), 'lkid', int(state.lkid),
      'slots', int(state.slots), 'leaseMs', int(state.leaseMs), 'lvbSize', int(state.lvbSize), 'code', state.code or '', 'fencing', state.fencing)
  end
  for _, command in ipairs(state.writes) do redis.call(unpack(command)) end
end

local function eventsOf(state, member)
  local events = {}
  local from = int(state.epoch) .. '-' .. int(member.acked + 1)
  for _, entry in ipairs(redis.call('XRANGE', state.keys[4 + member.slot], from, '+')) do
    table.insert(events, entry[2][4])
  end
  return events
end

local function sightings(state)
  local result = {}
  for _, member in ipairs(allMembers(state)) do
    table.insert(result, cjson.encode({
      slot = member.slot, incarnation = member.incarnation, counter = member.counter, node = member.node,
      process = member.process, state = 'active',
    }))
  end
  return array(result)
end

-- `extra`: more fields, ready as JSON.
local function reply(state, rc, value, member, extra)
  return '{"rc":' .. int(rc) .. ',"value":' .. int(value) .. ',"seq":' .. int(state.seq) .. ',"epoch":' .. int(state.epoch)
    .. ',"generation":' .. int(state.generation) .. ',"events":' .. array(member and eventsOf(state, member) or {})
    .. (extra or '') .. '}'
end
