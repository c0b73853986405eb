-- Requests, and what each of them is charged: by all of its quotas or by none. One call is one step for the server, so
-- nobody else's charge comes between the question and the answer.
--
-- KEYS: one for each charge. ARGV: for each request what is to be done and the number of its charges, and for each of
-- those its algorithm ("g", "s" or "f"), its cost, and
--   g: the units that drain in a microsecond, the units of one token, the units of the burst;
--   s, f: the limit, the microseconds of a window.
-- Answers five integers a charge: admitted, what remains, and in microseconds until all is there again, until the same
-- cost would be admitted, and until a cost of 1 would.
--
-- A bucket is a level and when it was read, in units of which an emission interval has a whole number: while its burst has
-- less than 2^53 of them, nothing is rounded. What is dated later than now (the server's clock was set back) is taken for
-- now, and written so: levels and counts stay, and nobody waits for the clock to catch up.

local call = redis.call
local floor, ceil, max, min = math.floor, math.ceil, math.max, math.min
local time = call('TIME')
local now = time[1] * 1000000 + time[2]

local function read(charge)
  local stored = call('GET', charge.key)
  if charge.kind == 'g' then
    charge.price = charge.cost * charge.token
    charge.level = 0
    if stored then
      local level, seen = struct.unpack('>dd', stored)
      charge.redated = seen > now
      charge.level = charge.redated and level or max(0, level - (now - seen) * charge.drain)
    end
    charge.admitted = charge.level + charge.price <= charge.burst
    return
  end
  charge.index = floor(now / charge.length)
  charge.left = (charge.index + 1) * charge.length - now
  charge.current, charge.last = 0, 0
  if stored then
    local index, current, last = struct.unpack('>ddd', stored)
    charge.redated = index > charge.index
    if index >= charge.index then charge.current, charge.last = current, last
    elseif index == charge.index - 1 then charge.last = current end
  end
  -- What the last window still weighs, times the length of one, so that nothing is rounded.
  charge.weight = charge.kind == 's' and charge.last * charge.left or 0
  charge.admitted = charge.weight + (charge.current + charge.cost) * charge.length <= charge.limit * charge.length
end

local function write(charge, sign)
  local state, ends
  if charge.kind == 'g' then
    charge.level = max(0, charge.level + sign * charge.price)
    state, ends = struct.pack('>dd', charge.level, now), charge.level / charge.drain
  else
    charge.current = max(0, charge.current + sign * charge.cost)
    state, ends = struct.pack('>ddd', charge.index, charge.current, charge.last), charge.left + charge.length
  end
  -- A second more than it has to be known, and never longer than the server can count.
  call('SET', charge.key, state, 'PX', string.format('%.0f', min(ceil(ends / 1000) + 1000, 1e15)))
end

-- Until `cost` would be admitted by a window, were nothing else charged.
local function window_wait(charge, cost)
  if charge.kind == 'f' or cost > charge.limit then return charge.left end
  local free = charge.limit - cost
  if free >= charge.current and charge.last > 0 then
    return charge.left - floor((free - charge.current) * charge.length / charge.last)
  end
  return charge.left + charge.length - min(charge.length, floor(free * charge.length / max(charge.current, 1)))
end

local function describe(charge, admitted, answers)
  local remaining, reset, wait, one
  if charge.kind == 'g' then
    remaining = floor((charge.burst - charge.level) / charge.token)
    reset = ceil(charge.level / charge.drain)
    -- No pause makes room for what is more than the burst.
    wait = charge.price > charge.burst and reset or ceil((charge.level + charge.price - charge.burst) / charge.drain)
    one = ceil((charge.level + charge.token - charge.burst) / charge.drain)
  else
    remaining = floor(charge.limit - charge.current - charge.weight / charge.length)
    reset = 0
    if charge.current > 0 then reset = charge.kind == 's' and charge.left + charge.length or charge.left
    elseif charge.weight > 0 then reset = charge.left end
    wait = admitted and 0 or window_wait(charge, charge.cost)
    one = remaining >= 1 and 0 or window_wait(charge, 1)
  end
  local n = #answers
  answers[n + 1] = admitted and 1 or 0
  answers[n + 2] = max(0, remaining)
  answers[n + 3] = reset
  answers[n + 4] = admitted and 0 or max(1, wait)
  answers[n + 5] = admitted and 0 or max(0, one)
end

local answers, key, arg = {}, 0, 1
while arg <= #ARGV do
  local op, count = ARGV[arg], tonumber(ARGV[arg + 1])
  arg = arg + 2
  local charges, admitted = {}, true
  for n = 1, count do
    key = key + 1
    local charge = { key = KEYS[key], kind = ARGV[arg], cost = tonumber(ARGV[arg + 1]) }
    if charge.kind == 'g' then
      charge.drain, charge.token, charge.burst = tonumber(ARGV[arg + 2]), tonumber(ARGV[arg + 3]), tonumber(ARGV[arg + 4])
      arg = arg + 5
    else
      charge.limit, charge.length = tonumber(ARGV[arg + 2]), tonumber(ARGV[arg + 3])
      arg = arg + 4
    end
    if op == 'reset' then call('DEL', charge.key) end
    read(charge)
    admitted = admitted and charge.admitted
    charges[n] = charge
  end
  for n = 1, count do
    local charge = charges[n]
    local passes = charge.admitted
    if op == 'refund' then
      write(charge, -1)
      passes = true
    elseif op == 'debit' or (op == 'acquire' and admitted) then
      write(charge, 1)
      passes = true
    elseif charge.redated then
      write(charge, 0)
    end
    describe(charge, passes, answers)
  end
end
return answers
