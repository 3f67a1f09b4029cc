// The gateway's HTTP parser beside Node's (llhttp), which is in front of half of the web: what the gateway takes and llhttp refuses is
// where one of two parsers in a row sees a second request that the other does not. Each such case stands below with its reason.
import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import http from 'node:http';
import net from 'node:net';
import { join } from 'node:path';
import { test } from 'node:test';
import { ROOT, World } from './world.mjs';

let gateway, node;

/** The parts of a request: line, Host, further lines, body. */
const request = (line, lines = [], body = '', host = 'Host: x') => [line, ...(host ? [host] : []), ...lines, '', body].join('\r\n');
const get = (...lines) => request('GET /healthz HTTP/1.1', lines);
const post = (lines, body) => request('POST /channels/a HTTP/1.1', lines, body);
const chunked = (body, ...lines) => post(['Transfer-Encoding: chunked', ...lines], body);
const host = (text) => request('GET /healthz HTTP/1.1', [], '', text);
const line = (text) => request(text);

/** Each with why the gateway may differ, where it does: taken though llhttp refuses it, or refused though llhttp takes it. */
const TAKEN = {
  // Bare LF as a line end in a head: RFC 9112 section 2.2 allows a recipient to take it.
  'line ends are LF': 'GET /healthz HTTP/1.1\nHost: x\n\n',
  'one line end is LF': 'GET /healthz HTTP/1.1\r\nHost: x\nA: b\r\n\r\n',
  // llhttp wants one of a list of registered methods; RFC 9110 section 9.1 lets any token be one, and it is answered with 405.
  'unknown method': line('BREW /healthz HTTP/1.1'),
  'method in small letters': line('get /healthz HTTP/1.1'),
  'method of marks': line("!#$%&'*+-.^_`|~ /healthz HTTP/1.1"),
  // curl sends what was typed; the bytes are part of a channel's name.
  'bytes in the target': line('GET /\xc3\xa4 HTTP/1.1'),
};
const REFUSED = {
  'chunked in 1.0': request('POST /channels/a HTTP/1.0', ['Transfer-Encoding: chunked'], '0\r\n\r\n'),
  'no version': line('GET /healthz'),
  'two blanks': line('GET  /healthz HTTP/1.1'),
  'nine empty lines before': '\r\n'.repeat(9) + get(),
  'two Content-Lengths that agree': post(['Content-Length: 1', 'Content-Length: 1'], 'x'),
  'Host with a blank': host('Host: a b'),
  'Host with a slash': host('Host: a/b'),
  'Host in brackets': host('Host: <a>'),
  'Host with half an address': host('Host: [::1'),
  'Host with a user': host('Host: u@a'),
  'Host with a word as port': host('Host: a:b'),
  'two Hosts': host('Host: a\r\nHost: a'),
  'target without slash': line('GET healthz HTTP/1.1'),
  'CONNECT': line('CONNECT a:80 HTTP/1.1'),
  'fragment in the target': line('GET /healthz#a HTTP/1.1'),
  'control character in the target': line('GET /health\x01z HTTP/1.1'),
  'gzip as transfer coding': post(['Transfer-Encoding: gzip, chunked'], '0\r\n\r\n'),
  'transfer coding in two lines': post(['Transfer-Encoding: gzip', 'Transfer-Encoding: chunked'], '0\r\n\r\n'),
  'HTTP/2.0': line('GET /healthz HTTP/2.0'),
  'HTTP/0.9': line('GET /healthz HTTP/0.9'),
  'tab in the target': line('GET /a\tb HTTP/1.1'),
  '65 header lines': get(...Array.from({ length: 64 }, (_, i) => `A${i}: b`)),
  'trailer without a name': chunked('0\r\n: b\r\n\r\n'),
};
const BOTH = {
  'plain': get(), 'no value': get('A:'), 'many blanks': get('A:   \t b \t '), 'list': get('Accept: a, b,, c'),
  'empty Host': host('Host:'), 'Host with port': host('Host: a:80'), 'Host is an address': host('Host: [::1]:80'),
  'no Host': host(''), 'no Host in 1.0': request('GET /healthz HTTP/1.0', [], '', ''),
  'absolute': line('GET http://a/healthz HTTP/1.1'), 'absolute without path': line('GET http://a HTTP/1.1'),
  'absolute with query': line('GET http://a/?b=c HTTP/1.1'), 'asterisk': line('OPTIONS * HTTP/1.1'),
  'blank at the end': line('GET /healthz HTTP/1.1 '), 'tab': line('GET\t/healthz HTTP/1.1'),
  'no target': line('GET HTTP/1.1'), 'version in small letters': line('GET /healthz http/1.1'),
  'version of three digits': line('GET /healthz HTTP/1.11'), 'version without minor': line('GET /healthz HTTP/1'), 'other protocol': line('GET /healthz FTP/1.1'),
  'leading blank': ' ' + get(), 'leading CRLF': '\r\n' + get(), 'four LF before': '\n\n\n\n' + get(), 'leading junk': 'x\r\n' + get(), 'NUL': '\0' + get(), 'TLS': '\x16\x03\x01\x02\x00\x01\x00',
  'blank before the colon': get('A : b'), 'tab before the colon': get('A\t: b'), 'no colon': get('A b'), 'no name': get(': b'), 'folded': get('A: b', ' c'),
  'folded first': request('GET /healthz HTTP/1.1\r\n A: b'), 'blank in a name': get('A B: c'), 'slash in a name': get('A/B: c'), 'at in a name': get('A@B: c'),
  'NUL in a value': get('A: b\0c'), 'control in a value': get('A: b\x01c'), 'DEL in a value': get('A: b\x7fc'), 'CR in a value': get('A: b\rc'),
  'Latin-1 in a value': get('A: b\xe4c'), 'tab in a value': get('A: b\tc'), 'Latin-1 in a name': get('\xe4: b'), 'NUL in a name': get('A\0: b'),
  'length': post(['Content-Length: 1'], 'x'), 'length 0': post(['Content-Length: 0']), 'length with plus': post(['Content-Length: +1'], 'x'),
  'length with minus': post(['Content-Length: -1'], 'x'), 'length in hex': post(['Content-Length: 0x1'], 'x'), 'length with point': post(['Content-Length: 1.0'], 'x'),
  'length with blank inside': post(['Content-Length: 1 1'], 'x'), 'length is a list': post(['Content-Length: 1, 1'], 'x'), 'empty length': post(['Content-Length:'], 'x'),
  'length too large': post(['Content-Length: 99999999999999999999'], 'x'), 'two lengths': post(['Content-Length: 1', 'Content-Length: 2'], 'xx'),
  'length and chunked': post(['Content-Length: 1', 'Transfer-Encoding: chunked'], '0\r\n\r\n'), 'chunked and length': post(['Transfer-Encoding: chunked', 'Content-Length: 5'], '0\r\n\r\n'),
  'chunked': chunked('1\r\nx\r\n0\r\n\r\n'), 'chunked in capitals': post(['Transfer-Encoding: Chunked'], '1\r\nx\r\n0\r\n\r\n'), 'hex in both cases': chunked('a\r\n0123456789\r\nA\r\n0123456789\r\n0\r\n\r\n'),
  'leading zeros': chunked('0001\r\nx\r\n0\r\n\r\n'), 'several zeros': chunked('1\r\nx\r\n000\r\n\r\n'), 'extension': chunked('1;a=b\r\nx\r\n0\r\n\r\n'), 'extension without value': chunked('1;a\r\nx\r\n0\r\n\r\n'),
  'quoted extension': chunked('1;a="b;c"\r\nx\r\n0\r\n\r\n'), 'extension on the last': chunked('1\r\nx\r\n0;a\r\n\r\n'), 'trailer': chunked('1\r\nx\r\n0\r\nA: b\r\n\r\n'), 'two trailers': chunked('0\r\nA: b\r\nC: d\r\n\r\n'),
  'chunk with LF': chunked('1\nx\r\n0\r\n\r\n'), 'data with LF': chunked('1\r\nx\n0\r\n\r\n'), 'last with LF': chunked('1\r\nx\r\n0\n\r\n'), 'end with LF': chunked('1\r\nx\r\n0\r\n\n'),
  'chunk size with plus': chunked('+1\r\nx\r\n0\r\n\r\n'), 'chunk size 0x': chunked('0x1\r\nx\r\n0\r\n\r\n'), 'chunk size with underscore': chunked('1_0\r\nx\r\n0\r\n\r\n'), 'chunk size with minus': chunked('-1\r\nx\r\n0\r\n\r\n'),
  'no chunk size': chunked('\r\nx\r\n0\r\n\r\n'), 'chunk size is a word': chunked('x\r\n'), 'chunk size too large': chunked('fffffffffffffffff\r\nx'), 'longer data': chunked('1\r\nxy\r\n0\r\n\r\n'),
  'shorter data': chunked('3\r\nx\r\n0\r\n\r\n'), 'CR in an extension': chunked('1;a\rb\r\nx\r\n0\r\n\r\n'), 'LF in an extension': chunked('1;a\nb\r\nx\r\n0\r\n\r\n'), 'control in an extension': chunked('1;a\x01\r\nx\r\n0\r\n\r\n'),
  'junk behind the size': chunked('1 x\r\nx\r\n0\r\n\r\n'), 'CR CR LF': chunked('1\r\r\nx\r\n0\r\n\r\n'), 'trailer without colon': chunked('0\r\nA b\r\n\r\n'), 'trailer with blank': chunked('0\r\nA : b\r\n\r\n'),
  'chunked twice': post(['Transfer-Encoding: chunked, chunked'], '0\r\n\r\n'), 'chunked not last': post(['Transfer-Encoding: chunked, gzip'], '0\r\n\r\n'), 'identity': post(['Transfer-Encoding: identity'], 'x'),
  'xchunked': post(['Transfer-Encoding: xchunked'], '0\r\n\r\n'), 'chunked with parameter': post(['Transfer-Encoding: chunked;a=b'], '0\r\n\r\n'), 'vertical tab before chunked': post(['Transfer-Encoding: \x0bchunked'], '0\r\n\r\n'),
  'blank before the colon of TE': post(['Transfer-Encoding : chunked'], '0\r\n\r\n'),
  'keep-alive in 1.0': request('GET /healthz HTTP/1.0', ['Connection: keep-alive']), 'close': get('Connection: close'), 'both': get('Connection: keep-alive', 'Connection: close'),
  'expect': post(['Content-Length: 1', 'Expect: 100-continue'], 'x'), 'HEAD': line('HEAD /healthz HTTP/1.1'), 'query': line('GET /channels?filter=a%2Fb HTTP/1.1'), 'percent': line('GET /%68ealthz HTTP/1.1'),
  'quotes in the target': line('GET /"a" HTTP/1.1'), 'brackets in the target': line('GET /a[b]{c}|^ HTTP/1.1'), 'backslash in the target': line('GET /a\\b HTTP/1.1'), 
 'body behind GET': request('GET /healthz HTTP/1.1', ['Content-Length: 1'], 'x'), 'long value': get('A: ' + 'b'.repeat(4000)), 'sixty lines': get(...Array.from({ length: 60 }, (_, i) => `A${i}: b`)),
};

/** Sends the bytes, then FIN. Returns the status of the first answer, or 0 if there is none. */
function ask(port, text) {
  return new Promise((resolve) => {
    const socket = net.connect(port, '127.0.0.1');
    let answer = '';
    const done = () => (socket.destroy(), resolve(Number(/^HTTP\/1\.1 (?!100)(\d+)/m.exec(answer)?.[1] ?? 0)));
    socket.setTimeout(5000, done);
    socket.on('data', (data) => (answer += data.toString('latin1')));
    socket.on('close', done).on('error', () => {});
    socket.end(Buffer.isBuffer(text) ? text : Buffer.from(text, 'latin1'));
  });
}

// 404, 405 and the like are answers to a request that was understood.
const refused = (status) => [0, 400, 408, 413, 431, 501, 505].includes(status);
const understood = async (text) => ({ sluice: !refused(await ask(gateway.port, text)), llhttp: !refused(await ask(node.address().port, text)) });

test('HTTP beside llhttp', async (t) => {
  const world = new World(t);
  await world.broker();
  gateway = await world.sluice('  - { topic: a, publish: {} }');
  node = http.createServer({ requireHostHeader: true }, (incoming, answer) => {
    incoming.resume();
    incoming.on('end', () => answer.end('ok'));
  });
  node.on('connect', (_, socket) => socket.end('HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n'));
  await new Promise((resolve) => node.listen(0, '127.0.0.1', resolve));
  t.after(() => node.close());

  for (const [name, text] of Object.entries(BOTH)) {
    await t.test(`as llhttp: ${name}`, async () => {
      const { sluice, llhttp } = await understood(text);
      assert.equal(sluice, llhttp, `taken by ${sluice ? 'the gateway' : 'llhttp'} alone`);
    });
  }
  for (const [name, text] of Object.entries(TAKEN)) {
    await t.test(`taken, though llhttp refuses it: ${name}`, async () => assert.deepEqual(await understood(text), { sluice: true, llhttp: false }));
  }
  for (const [name, text] of Object.entries(REFUSED)) {
    await t.test(`refused, whatever llhttp does: ${name}`, async () => assert.equal((await understood(text)).sluice, false));
  }
  const corpus = join(ROOT, 'tests/fuzz/corpus/http');
  for (const name of readdirSync(corpus)) {
    await t.test(`corpus: ${name}`, async () => {
      const { sluice, llhttp } = await understood(readFileSync(join(corpus, name)));
      assert.ok(!sluice || llhttp, 'taken by the gateway alone');
    });
  }
});
