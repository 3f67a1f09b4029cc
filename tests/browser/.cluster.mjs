
import { io } from 'socket.io-client';
const [first, second, third] = process.argv.slice(2);
const socket = io(first, { transports: ['websocket'], reconnectionDelay: 50, reconnectionDelayMax: 100 });
const say = (...words) => console.log(JSON.stringify(words));
socket.on('message', (message) => say('message', message.data));
socket.on('connect', () => { say('connect', socket.recovered); if (!socket.recovered) socket.emit('subscribe', 'plant/n/t', () => say('subscribed')); });
process.stdin.on('data', (line) => {
  socket.io.uri = String(line).trim() === '2' ? second : third;
  socket.io.engine.close();
});
