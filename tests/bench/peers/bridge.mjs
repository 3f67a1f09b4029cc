// The bridge that people write first: mqtt.js in, ws out. bridge.mjs BROKER_PORT TOPIC; prints the port it listens on.
// A client asks for GET /<topic>; each frame is the payload alone, which is cheaper than the envelope that Sluice sends.
import mqtt from 'mqtt';
import { WebSocketServer } from 'ws';

const [brokerPort, topic] = process.argv.slice(2);
const channels = new Map();
const broker = mqtt.connect(`mqtt://127.0.0.1:${brokerPort}`);

broker.on('message', (name, payload) => {
  for (const socket of channels.get(name) ?? []) socket.send(payload, { binary: false });
});
broker.on('error', (error) => { throw error; });

broker.subscribe(`${topic}/#`, { qos: 1 }, (error) => {
  if (error) throw error;
  const server = new WebSocketServer({ host: '127.0.0.1', port: 0, perMessageDeflate: false, backlog: 4096 });
  server.on('listening', () => console.log(`listening on 127.0.0.1:${server.address().port}`));
  server.on('connection', (socket, request) => {
    const name = decodeURIComponent(request.url.slice(1));
    if (!channels.has(name)) channels.set(name, new Set());
    channels.get(name).add(socket);
    socket.on('close', () => channels.get(name).delete(socket));
    socket.on('error', () => socket.terminate());
  });
});
