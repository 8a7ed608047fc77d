-- What Redis and Lua give to a function. Redis hides most of it while a library loads, and finds it by way of a metatable
-- in every function later; so it is looked up once in the first call of all, and kept in locals. (They hold functions,
-- never state: that they last as long as the server process is all that is asked of them.)

local registerFunction = redis.register_function

local function lookUp()
  return redis, cjson, struct, bit, string, table, math, ipairs, pairs, tonumber, tostring, type, unpack, setmetatable
end

local redis, cjson, struct, bit, string, table, math, ipairs, pairs, tonumber, tostring, type, unpack, setmetatable

-- A function that may use them.
local function ready(callback)
  return function(keys, args)
    if not redis then
      redis, cjson, struct, bit, string, table, math, ipairs, pairs, tonumber, tostring, type, unpack, setmetatable =
        lookUp()
    end
    return callback(keys, args)
  end
end
