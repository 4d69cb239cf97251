-- Heartbeats for wrk: the agents of each thread take turns, each with a rising sequence.
-- Arguments behind `--`: number of agents, number of threads, first sequence.
local threads = 0

function setup(thread)
  thread:set("number", threads)
  threads = threads + 1
end

local head = "POST /v1/heartbeats HTTP/1.1\r\nhost: 127.0.0.1\r\n" ..
  "content-type: application/json\r\ncontent-length: %d\r\n\r\n"
local body = '{"agent_id":"agent-%06d","incarnation":1,"sequence":%d,"reason":"scheduled",' ..
  '"status":"healthy","directive_seen":%d,' ..
  '"metrics":{"queue_depth":12,"active_tasks":3,"cpu_percent":41.5}}'
local whole, first, last, agent, sequence
local format = string.format

function init(args)
  local share = tonumber(args[1]) / tonumber(args[2])
  sequence = tonumber(args[3])
  first = number * share
  last = first + share - 1
  agent = first
  -- Every sequence of a run has as many digits as the first: the length is always the same.
  whole = format(head, #format(body, 0, sequence, sequence - 1)) .. body
end

function request()
  local text = format(whole, agent, sequence, sequence - 1)
  if agent == last then
    agent = first
    sequence = sequence + 1
  else
    agent = agent + 1
  end
  return text
end

function done(summary)
  local errors = summary.errors
  local bad = errors.status + errors.connect + errors.read + errors.write + errors.timeout
  io.write(format("tally %d %d %d\n", summary.requests, bad, summary.duration))
end
