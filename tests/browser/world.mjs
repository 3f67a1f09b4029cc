// What a test may start: a broker, gateways, proxies, a browser. Everything is ended after the test that made it.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import net from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

import mqtt from 'mqtt';

export const ROOT = fileURLToPath(new URL('../..', import.meta.url));
export const BINARY = process.env.SLUICE_BINARY || join(ROOT, 'build/release/sluice');

/** Resolves with the first truthy value of condition(); rejects after `timeout` ms, which a busy machine never needs. */
export async function until(condition, what = 'the condition', timeout = 60_000) {
  const end = Date.now() + timeout;
  for (;;) {
    const value = await condition();
    if (value) return value;
    if (Date.now() > end) throw new Error(`waited ${timeout} ms in vain for ${typeof what === 'function' ? await what() : what}`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

/** Below the range from which the system takes ports for outgoing connections: nobody gets it between here and its use. */
export async function freePort() {
  for (;;) {
    const port = 10_000 + Math.floor(Math.random() * 20_000);
    const server = net.createServer().listen(port, '127.0.0.1');
    const free = await new Promise((resolve) => server.once('listening', () => resolve(true)).once('error', () => resolve(false)));
    if (!free) continue;
    await new Promise((resolve) => server.close(resolve));
    return port;
  }
}

const answers = (port) =>
  new Promise((resolve) => {
    const socket = net.connect(port, '127.0.0.1');
    socket.once('connect', () => (socket.destroy(), resolve(true)));
    socket.once('error', () => resolve(false));
  });

/** A child process with its output kept. */
export class Child {
  constructor(command, args, options = {}) {
    this.output = '';
    this.process = spawn(command, args, { stdio: ['ignore', 'pipe', 'pipe'], ...options });
    this.process.stdout.on('data', (data) => (this.output += data));
    this.process.stderr.on('data', (data) => (this.output += data));
    this.ended = new Promise((resolve) => this.process.once('exit', resolve));
  }

  async stop(signal = 'SIGTERM') {
    this.process.kill(signal);
    const timer = setTimeout(() => this.process.kill('SIGKILL'), 20_000);
    await this.ended;
    clearTimeout(timer);
  }
}

export class World {
  constructor(t) {
    this.directory = mkdtempSync(join(tmpdir(), 'sluice-'));
    this.things = [];
    t.after(() => this.end());
  }

  file(name, text) {
    const path = join(this.directory, name);
    writeFileSync(path, text);
    return path;
  }

  keep(end) {
    this.things.push(end);
  }

  async broker() {
    this.brokerPort = await freePort();
    const conf = this.file('mosquitto.conf',
      `listener ${this.brokerPort} 127.0.0.1\nallow_anonymous true\nmax_queued_messages 100000\nmax_inflight_messages 0\n`);
    this.startBroker = async () => {
      this.brokerChild = new Child('/usr/sbin/mosquitto', ['-c', conf]);
      await until(() => answers(this.brokerPort), 'mosquitto');
    };
    this.stopBroker = () => this.brokerChild.stop();
    this.keep(() => this.stopBroker());
    await this.startBroker();
  }

  /** A gateway on a port that stays the same when it is started again. */
  async sluice(routes, more = '', base = '') {
    const port = await freePort();
    const write = (rest) => this.file(`sluice-${port}.yaml`,
      `broker:\n  url: mqtt://127.0.0.1:${this.brokerPort}\n  reconnect: { min: 100ms, max: 300ms }\n` +
      `listen:\n  - address: 127.0.0.1:${port}\nroutes:\n${routes}\n${rest}`);
    const config = write(more);
    const gateway = {
      port,
      url: `http://127.0.0.1:${port}`,
      start: async () => {
        gateway.child = new Child(BINARY, ['-c', config]);
        await until(async () => (await fetch(gateway.url + base + '/readyz').catch(() => ({}))).ok, () => gateway.child.output);
      },
      stop: (signal) => gateway.child.stop(signal),
      /** With another `more`, without stopping. */
      reload: (rest) => (write(rest), gateway.child.process.kill('SIGHUP')),
    };
    await gateway.start();
    this.keep(() => gateway.stop());
    return gateway;
  }

  /** QoS 1 messages to the broker, in this order, by mqtt.js: mosquitto_pub -l rests for a fifth of a second each time. */
  async publish(topic, payloads, { retain = false } = {}) {
    const client = await mqtt.connectAsync(`mqtt://127.0.0.1:${this.brokerPort}`, { reconnectPeriod: 0 });
    await Promise.all(payloads.map((payload) => client.publishAsync(topic, String(payload), { qos: 1, retain })));
    await client.endAsync();
  }

  async end() {
    for (const end of this.things.reverse()) await end();
    rmSync(this.directory, { recursive: true, force: true });
  }
}

/** A TCP relay that can be cut, stalled and mended. */
export class Relay {
  sockets = new Set();
  stalled = false;

  static async to(world, target) {
    const relay = new Relay();
    relay.target = target;
    relay.port = await freePort();
    relay.url = `http://127.0.0.1:${relay.port}`;
    world.keep(() => relay.cut());
    await relay.mend();
    return relay;
  }

  /** Everything breaks, and nobody answers any more. */
  async cut() {
    const { server } = this;
    this.server = undefined;
    for (const socket of this.sockets) socket.destroy();
    if (server) await new Promise((resolve) => server.close(resolve));
  }

  async mend() {
    this.stalled = false;
    this.server = net.createServer((from) => {
      const to = net.connect(this.target, '127.0.0.1');
      for (const [one, other] of [[from, to], [to, from]]) {
        this.sockets.add(one);
        one.on('data', (data) => this.stalled || other.write(data)); // swallowed: dead Wi-Fi says nothing
        one.on('error', () => {});
        one.on('close', () => (this.sockets.delete(one), other.destroy()));
      }
    }).listen(this.port, '127.0.0.1');
    await new Promise((resolve) => this.server.once('listening', resolve));
  }

  stall() {
    this.stalled = true;
  }
}

/** nginx in front of the gateway, with `location /` as given. */
export async function nginx(world, target, location) {
  const port = await freePort();
  const dir = world.directory;
  const conf = world.file(`nginx-${port}.conf`, `
daemon off; pid ${dir}/nginx-${port}.pid; error_log ${dir}/nginx-${port}.log;
events {}
http {
  access_log off; client_body_temp_path ${dir}/b${port}; proxy_temp_path ${dir}/p${port}; fastcgi_temp_path ${dir}/f${port};
  uwsgi_temp_path ${dir}/u${port}; scgi_temp_path ${dir}/s${port};
  map $http_upgrade $connection_upgrade { default upgrade; '' close; }
  server { listen 127.0.0.1:${port}; location / { proxy_pass http://127.0.0.1:${target}; proxy_http_version 1.1;
    proxy_set_header Host $http_host; ${location} } }
}`);
  const child = new Child('/usr/sbin/nginx', ['-c', conf, '-p', dir]);
  world.keep(() => child.stop());
  await until(() => answers(port), () => 'nginx: ' + child.output);
  return { port, url: `http://127.0.0.1:${port}` };
}

export const CHROMIUM = ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
  '--disable-component-update', '--disable-sync', '--disable-dev-shm-usage'];

/** Debian's Chromium, one for a file of tests. */
export async function browse(options = {}) {
  const { chromium } = await import('playwright-core');
  return chromium.launch({ executablePath: '/usr/bin/chromium', args: CHROMIUM, ...options });
}
