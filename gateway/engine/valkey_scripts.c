#include "engine/valkey_scripts.h"

const char gw_script_append[] =
    "local log, channels, meta = KEYS[1], KEYS[2], KEYS[3]\n"
    "local histories, size, most, last = ARGV[1], ARGV[2], tonumber(ARGV[3]), ARGV[4]\n"
    "local add = last == '' and redis.pcall or redis.call\n"
    "local top = redis.call('XREVRANGE', log, '+', '-', 'COUNT', 1)[1]\n"
    "if last ~= '' and (not top or top[1] ~= last) then\n"
    "  local fenced = top and tonumber(string.match(top[1], '^%d+')) > tonumber(string.match(last, '^%d+'))\n"
    "  return redis.error_reply(fenced and 'FENCED another node has taken over' or 'CUT the log has lost its end')\n"
    "end\n"
    "local i = 5\n"
    "while i <= #ARGV do\n"
    "  local id, keep, n = ARGV[i], ARGV[i + 1], tonumber(ARGV[i + 2])\n"
    "  add('XADD', log, 'MAXLEN', '~', size, id, unpack(ARGV, i + 3, i + 2 + n))\n"
    "  if keep ~= '' then\n"
    "    local channel = ARGV[i + 4]\n"
    "    local before = redis.call('ZSCORE', channels, channel) or redis.call('HGET', meta, 'forgotten') or '0'\n"
    "    add('XADD', histories .. channel, 'MAXLEN', tonumber(keep) < 100 and '=' or '~', keep, id,\n"
    "        'b', before, unpack(ARGV, i + 3, i + 2 + n))\n"
    "    redis.call('ZADD', channels, 'GT', string.match(id, '%d+$'), channel)\n"
    "  elseif ARGV[i + 4] == 'upstream' then\n"
    "    redis.call('HSET', meta, 'upstream', ARGV[i + 6])\n"
    "  end\n"
    "  i = i + 3 + n\n"
    "end\n"
    "while redis.call('ZCARD', channels) > most do\n"
    "  local silent = redis.call('ZPOPMIN', channels)\n"
    "  redis.call('DEL', histories .. silent[1])\n"
    "  redis.call('HSET', meta, 'forgotten', silent[2])\n"
    "end\n"
    "return 1\n";

const char gw_script_fence[] =
    "local log, meta, lease, epoch = KEYS[1], KEYS[2], KEYS[3], KEYS[4]\n"
    "if redis.call('GET', lease) ~= ARGV[1] then return redis.error_reply('NOLEASE the lease is gone') end\n"
    "local top = redis.call('XREVRANGE', log, '+', '-', 'COUNT', 1)\n"
    "local before = top[1] and top[1][1] or '0-0'\n"
    "local term, seq = string.match(before, '^(%d+)%-(%d+)$')\n"
    "term = math.max(tonumber(term), tonumber(redis.call('HGET', meta, 'term') or 0), tonumber(ARGV[4])) + 1\n"
    "seq = string.format('%.0f', math.max(tonumber(seq), tonumber(ARGV[3])))\n"
    "redis.call('HSET', meta, 'term', term, 'run', ARGV[2], 'leader', ARGV[1], 'routes', ARGV[6], 'upstream', '0 ' "
    ".. ARGV[9])\n"
    "redis.call('SET', epoch, ARGV[7])\n"
    "redis.call('XADD', log, 'MAXLEN', '~', ARGV[8], term .. '-' .. seq, 'k', 'fence', 'n', ARGV[1], 'r', ARGV[2],\n"
    "           'b', before, 'l', ARGV[5], 'x', ARGV[6])\n"
    "return {term, seq}\n";

const char gw_script_renew[] = "if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end\n"
                               "return redis.call('PEXPIRE', KEYS[1], ARGV[2])\n";

const char gw_script_resign[] =
    "if redis.call('GET', KEYS[3]) ~= ARGV[1] then return 0 end\n"
    "redis.call('DEL', KEYS[3])\n"
    "redis.call('HSET', KEYS[2], 'upstream', '0 ' .. ARGV[4])\n"
    "redis.call('XADD', KEYS[1], 'MAXLEN', '~', ARGV[3], ARGV[2], 'k', 'resign', 's', ARGV[4])\n"
    "return 1\n";
