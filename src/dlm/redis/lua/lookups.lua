-- What calls look up beside what each begins with: the members, who they are, what they have not read; and what all are told.

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

-- Events of a member after `ack`; nil: some of them are missing.
local function eventsAfter(state, member, ack)
  local unread = member.sent - ack
  if unread == 0 then return {} end
  if unread > MAILBOX_LIMIT then return nil end
  local entries = redis.call('XRANGE', boxOf(state, member.slot), state.epoch .. '-' .. (ack + 1), '+')
  if #entries ~= unread then return nil end
  local events = {}
  for i = 1, unread do events[i] = entries[i][2][2] end
  return events
end
