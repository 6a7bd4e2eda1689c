-- Rooms in Redis. One call of this script is one step of a session; Redis runs it whole or not at all.
--
--   <p>s:<id>      hash   room, secret (its SHA-256), owner (node, or '' while away), info, in, out, ack, size, resumable, …
--   <p>o:<id>      list   frames numbered ack+1 … out, for the peer
--   <p>room:<name> zset   ids of the room by order of joining
--   <p>rooms       set    names of rooms with somebody in them
--   <p>ids         set    ids of all sessions
--   <p>away        zset   ids without a connection, by when they are given up (ms)
--   <p>nodes       zset   nodes by when they last spoke (ms)
--   <p>owned:<n>   set    ids whose connections are on node n
--   <p>node:<n>    channel: 'd <id> <number> <frame>' delivers, 'e <id> <code>' ends, 'b' is the node's own beat

local p, command, node = ARGV[1], ARGV[2], ARGV[3]
local max_frames, max_size, window, max_peers, max_rooms, max_same =
  tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6]), tonumber(ARGV[7]), tonumber(ARGV[8]), tonumber(ARGV[9])
local a = {}
for i = 10, #ARGV do a[i - 9] = ARGV[i] end

-- Every key expires (ms): when all relays are gone for good, nothing of anybody's may stay. A beat renews what lives.
local day, grace = 86400000, 60000

local function now()
  local time = redis.call('TIME')
  return tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
end

local function tell(owner, text)
  if owner and owner ~= '' then redis.call('PUBLISH', p .. 'node:' .. owner, text) end
end

local remove

local function push(id, frame)
  local key = p .. 's:' .. id
  local owner, size = unpack(redis.call('HMGET', key, 'owner', 'size'))
  if not owner then return end
  local count = redis.call('LLEN', p .. 'o:' .. id)
  if count > 0 and (count >= max_frames or tonumber(size) + #frame > max_size) then
    remove(id, 'too-slow')
    tell(owner, 'e ' .. id .. ' too-slow')
    return
  end
  redis.call('RPUSH', p .. 'o:' .. id, frame)
  if count == 0 then redis.call('PEXPIRE', p .. 'o:' .. id, redis.call('PTTL', key)) end
  redis.call('HINCRBY', key, 'size', #frame)
  local number = redis.call('HINCRBY', key, 'out', 1)
  tell(owner, 'd ' .. id .. ' ' .. number .. ' ' .. frame)
end

remove = function(id, reason)
  local owner, room = unpack(redis.call('HMGET', p .. 's:' .. id, 'owner', 'room'))
  if not room then
    redis.call('SREM', p .. 'ids', id)
    redis.call('ZREM', p .. 'away', id)
    return
  end
  redis.call('DEL', p .. 's:' .. id, p .. 'o:' .. id)
  redis.call('SREM', p .. 'ids', id)
  redis.call('ZREM', p .. 'away', id)
  redis.call('SREM', p .. 'owned:' .. owner, id)
  redis.call('ZREM', p .. 'room:' .. room, id)
  local others = redis.call('ZRANGE', p .. 'room:' .. room, 0, -1)
  if #others == 0 then redis.call('SREM', p .. 'rooms', room) end
  local frame = '{"type":"peer-left","id":"' .. id .. '","reason":"' .. reason .. '"}'
  for _, other in ipairs(others) do push(other, frame) end
end

local function roster(room, but)
  local found = {}
  for _, id in ipairs(redis.call('ZRANGE', p .. 'room:' .. room, 0, -1)) do
    if id ~= but then found[#found + 1] = redis.call('HGET', p .. 's:' .. id, 'info') end
  end
  return found
end

local function acknowledge(id, number)
  local key = p .. 's:' .. id
  local ack, out = unpack(redis.call('HMGET', key, 'ack', 'out'))
  ack, out = tonumber(ack), tonumber(out)
  if number > out then return false end
  local count = number - ack
  if count > 0 then
    local size = 0
    for _, frame in ipairs(redis.call('LRANGE', p .. 'o:' .. id, 0, count - 1)) do size = size + #frame end
    redis.call('LTRIM', p .. 'o:' .. id, count, -1)
    redis.call('HINCRBY', key, 'size', -size)
    redis.call('HSET', key, 'ack', number)
  end
  return true
end

local function send_away(id)
  local owner, resumable = unpack(redis.call('HMGET', p .. 's:' .. id, 'owner', 'resumable'))
  if not owner then return end
  if resumable ~= '1' then return remove(id, 'lost') end
  redis.call('SREM', p .. 'owned:' .. owner, id)
  redis.call('HSET', p .. 's:' .. id, 'owner', '')
  redis.call('ZADD', p .. 'away', now() + window, id)
  redis.call('PEXPIRE', p .. 's:' .. id, window + grace)
  redis.call('PEXPIRE', p .. 'o:' .. id, window + grace)
end

-- A session that a node holds lives a day from now.
local function keep(id, room)
  redis.call('PEXPIRE', p .. 's:' .. id, day)
  redis.call('PEXPIRE', p .. 'o:' .. id, day)
  if room then redis.call('PEXPIRE', p .. 'room:' .. room, day) end
end

local function own(id)
  local key = p .. 'owned:' .. node
  redis.call('SADD', key, id)
  -- Never put off: it is what says when the oldest of them is to be renewed.
  if redis.call('PTTL', key) < 0 then redis.call('PEXPIRE', key, day) end
end

-- Whether message `number` of the session is the next one: nil if so, else the answer to give.
local function out_of_turn(id, number)
  local owner, received = unpack(redis.call('HMGET', p .. 's:' .. id, 'owner', 'in'))
  if owner ~= node then return 'gone' end
  received = tonumber(received)
  if number <= received then return 'duplicate' end
  if number > received + 1 then return 'gap' end
end

local commands = {}

-- id, room, secret, info, resumable, expires, permissions, identity, name, metadata, frame for the others, name is fixed
function commands.join()
  local id, room = a[1], a[2]
  local key, members = p .. 's:' .. id, p .. 'room:' .. room
  if redis.call('EXISTS', key) == 1 then return {'exists'} end
  local there = redis.call('ZCARD', members)
  if there == 0 and redis.call('SCARD', p .. 'rooms') >= max_rooms then return {'too-many-rooms'} end
  if a[8] ~= '' then
    local same, waiting = 0, nil
    for _, other in ipairs(redis.call('ZRANGE', members, 0, -1)) do
      local identity, owner = unpack(redis.call('HMGET', p .. 's:' .. other, 'identity', 'owner'))
      if identity == a[8] then
        same = same + 1
        if owner == '' then waiting = waiting or other end
      end
    end
    if same >= max_same then
      if not waiting then return {'too-many-sessions'} end
      remove(waiting, 'lost')
      there = redis.call('ZCARD', members)
    end
  end
  if there >= max_peers then return {'room-full'} end
  local others = roster(room, id)
  for _, other in ipairs(redis.call('ZRANGE', members, 0, -1)) do push(other, a[11]) end
  redis.call('HSET', key, 'room', room, 'owner', node, 'secret', a[3], 'info', a[4], 'resumable', a[5], 'expires', a[6],
    'permissions', a[7], 'identity', a[8], 'name', a[9], 'metadata', a[10], 'fixed', a[12], 'in', 0, 'out', 0, 'ack', 0,
    'size', 0)
  redis.call('ZADD', members, redis.call('INCR', p .. 'joins'), id)
  redis.call('SADD', p .. 'rooms', room)
  redis.call('SADD', p .. 'ids', id)
  own(id)
  keep(id, room)
  return {'ok', others}
end

-- id, room, secret, last number received
function commands.resume()
  local id, room, received = a[1], a[2], tonumber(a[4])
  local key = p .. 's:' .. id
  local fields = redis.call('HMGET', key, 'room', 'secret', 'owner', 'ack')
  if fields[1] ~= room or fields[2] ~= a[3] then return {'resume-failed'} end
  if received < tonumber(fields[4]) or not acknowledge(id, received) then return {'resume-failed'} end
  if fields[3] ~= node then
    tell(fields[3], 'e ' .. id .. ' superseded')
    redis.call('SREM', p .. 'owned:' .. fields[3], id)
  end
  redis.call('HSET', key, 'owner', node)
  own(id)
  redis.call('ZREM', p .. 'away', id)
  keep(id, room)
  return {'ok', roster(room, id), redis.call('HGETALL', key), redis.call('LRANGE', p .. 'o:' .. id, 0, -1)}
end

-- id, number, to ('' for everybody else), frame
function commands.send()
  local id, number, to = a[1], tonumber(a[2]), a[3]
  local answer = out_of_turn(id, number)
  if answer then return answer end
  local key = p .. 's:' .. id
  local room = redis.call('HGET', key, 'room')
  if to ~= '' and redis.call('HGET', p .. 's:' .. to, 'room') ~= room then return 'unknown-peer' end
  redis.call('HSET', key, 'in', number)
  if to ~= '' then
    push(to, a[4])
  else
    for _, other in ipairs(redis.call('ZRANGE', p .. 'room:' .. room, 0, -1)) do
      if other ~= id then push(other, a[4]) end
    end
  end
  return 'accepted'
end

-- id, number, name, metadata, info, frame for the others
function commands.update()
  local id, number = a[1], tonumber(a[2])
  local answer = out_of_turn(id, number)
  if answer then return answer end
  local key = p .. 's:' .. id
  redis.call('HSET', key, 'in', number, 'name', a[3], 'metadata', a[4], 'info', a[5])
  for _, other in ipairs(redis.call('ZRANGE', p .. 'room:' .. redis.call('HGET', key, 'room'), 0, -1)) do
    if other ~= id then push(other, a[6]) end
  end
  return 'accepted'
end

-- id, number
function commands.acknowledge()
  if redis.call('HGET', p .. 's:' .. a[1], 'owner') ~= node then return 'gone' end
  return acknowledge(a[1], tonumber(a[2])) and 'ok' or 'wrong'
end

-- id, expires, permissions
function commands.renew()
  if redis.call('HGET', p .. 's:' .. a[1], 'owner') == node then
    redis.call('HSET', p .. 's:' .. a[1], 'expires', a[2], 'permissions', a[3])
  end
  return 'ok'
end

-- id
function commands.detach()
  if redis.call('HGET', p .. 's:' .. a[1], 'owner') == node then send_away(a[1]) end
  return 'ok'
end

-- id, reason
function commands.leave()
  local owner = redis.call('HGET', p .. 's:' .. a[1], 'owner')
  if owner == node or owner == '' then remove(a[1], a[2]) end
  return 'ok'
end

-- id, last number the node has
function commands.sync()
  local owner, ack = unpack(redis.call('HMGET', p .. 's:' .. a[1], 'owner', 'ack'))
  if not owner then return {'lost'} end
  if owner ~= node then return {'moved'} end
  return {'ok', redis.call('LRANGE', p .. 'o:' .. a[1], math.max(0, tonumber(a[2]) - tonumber(ack)), -1)}
end

-- seconds without a word after which a node is dead (ms). Answers 1 if this node had been given up.
function commands.beat()
  local time = now()
  local known = redis.call('ZSCORE', p .. 'nodes', node)
  redis.call('ZADD', p .. 'nodes', time, node)
  tell(node, 'b')
  for _, dead in ipairs(redis.call('ZRANGEBYSCORE', p .. 'nodes', '-inf', time - tonumber(a[1]))) do
    for _, id in ipairs(redis.call('SMEMBERS', p .. 'owned:' .. dead)) do send_away(id) end
    redis.call('DEL', p .. 'owned:' .. dead)
    redis.call('ZREM', p .. 'nodes', dead)
  end
  -- A few at a time: the next beat goes on.
  for _, id in ipairs(redis.call('ZRANGEBYSCORE', p .. 'away', '-inf', time, 'LIMIT', 0, 100)) do remove(id, 'lost') end
  if redis.call('PTTL', p .. 'owned:' .. node) < day / 2 then
    for _, id in ipairs(redis.call('SMEMBERS', p .. 'owned:' .. node)) do
      keep(id, redis.call('HGET', p .. 's:' .. id, 'room'))
    end
    redis.call('PEXPIRE', p .. 'owned:' .. node, day)
  end
  for _, name in ipairs({'rooms', 'ids', 'away', 'nodes', 'joins'}) do
    local left = redis.call('PTTL', p .. name)
    if left == -1 or (left >= 0 and left < day) then redis.call('PEXPIRE', p .. name, 2 * day) end
  end
  -- What expired without anybody's doing leaves its name in the set of rooms.
  local names = redis.call('SRANDMEMBER', p .. 'rooms', 10)
  for _, name in ipairs(names) do
    if redis.call('EXISTS', p .. 'room:' .. name) == 0 then redis.call('SREM', p .. 'rooms', name) end
  end
  return known and 0 or 1
end

function commands.bye()
  for _, id in ipairs(redis.call('SMEMBERS', p .. 'owned:' .. node)) do send_away(id) end
  redis.call('DEL', p .. 'owned:' .. node)
  redis.call('ZREM', p .. 'nodes', node)
  return 'ok'
end

return commands[command]()
