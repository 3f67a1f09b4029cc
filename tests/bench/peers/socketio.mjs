// Socket.IO fed by mqtt.js: a room for each topic. socketio.mjs BROKER_PORT TOPIC; prints the port it listens on.
import { createServer } from 'node:http';
import mqtt from 'mqtt';
import { Server } from 'socket.io';

const [brokerPort, topic] = process.argv.slice(2);
const http = createServer();
const io = new Server(http, { transports: ['websocket'], serveClient: false });
const broker = mqtt.connect(`mqtt://127.0.0.1:${brokerPort}`);

io.on('connection', (socket) => {
  socket.on('join', (name, acknowledge) => {
    socket.join(name);
    acknowledge();
  });
});
broker.on('message', (name, payload) => io.to(name).emit('message', payload.toString()));
broker.on('error', (error) => { throw error; });
broker.subscribe(`${topic}/#`, { qos: 1 }, (error) => {
  if (error) throw error;
  http.listen({ host: '127.0.0.1', port: 0, backlog: 4096 }, () => console.log(`listening on 127.0.0.1:${http.address().port}`));
});
