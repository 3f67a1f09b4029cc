// A stock client of Socket.IO for the soak, a page in its own process: socketio.mjs URL TRANSPORTS FILTER [declared]
//
// It subscribes to FILTER, by an event or by declaring it, and prints what it hears as lines of JSON. What it does after a
// break is what docs/protocol.md says: nothing where it was recovered, else it subscribes again, from where it was.
import { createRequire } from 'node:module';

const { io } = createRequire(new URL('../browser/package.json', import.meta.url))('socket.io-client');
const [url, transports, filter, declared] = process.argv.slice(2);
const say = (object) => process.stdout.write(JSON.stringify(object) + '\n');

let offset; // the newest one
let complete = false; // the last values have all come once, so `offset` is a place to go on from

const socket = io(url, {
  transports: transports.split('+'), reconnectionDelay: 50, reconnectionDelayMax: 400, timeout: 8000, forceNew: true,
  auth: (give) => give(declared ? { channels: [filter] } : {}),
});
socket.on('connect', () => {
  say({ connect: { recovered: socket.recovered, transport: socket.io.engine.transport.name } });
  if (socket.recovered) return;
  const cursor = complete ? offset : undefined;
  // Declared channels begin with last values where nothing says where the client stands, and that is an offset.
  if (declared ? !offset : !cursor) say({ anew: true });
  if (declared) return;
  socket.emit('subscribe', { channel: filter, cursor }, (answer) => answer.status === 'subscribed' || say({ refused: answer }));
});
socket.onAny((event, value, end) => {
  if (typeof end === 'string') offset = end;
  if (event === 'synced') complete = true;
  if (event === 'message' || event === 'gap' || event === 'error') say({ [event]: value });
  else if (!['welcome', 'synced', 'upstream'].includes(event)) say({ strange: [event, value] });
});
// With data it is the gateway's word; without, the connection could not be made, and the client tries again.
socket.on('connect_error', (error) => say(error.data ? { refused: error.data } : { failed: error.message }));
socket.on('disconnect', (reason) => say({ left: reason }));
socket.io.engine.on('upgrade', () => say({ upgrade: true }));
socket.io.on('open', () => socket.io.engine.on('upgrade', () => say({ upgrade: true })));
