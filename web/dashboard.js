// The first dashboard: every channel with its last value, live over /ws. No dependencies, no inline script.
'use strict';

const rows = new Map(); // channel -> {row, value, age, count, ts, messages}
const body = document.getElementById('channels');
const stateBadge = document.getElementById('state');
const banner = document.getElementById('banner');
const filterInput = document.getElementById('filter');
let socket = null;
let cursor = null;
let filter = '#';
let delay = 500;

function setState(text, kind) {
  stateBadge.textContent = text;
  stateBadge.className = 'badge ' + kind;
}

function addRow(channel) {
  const row = document.createElement('tr');
  const cells = ['name', 'value', 'age', 'count'].map((name) => {
    const cell = document.createElement('td');
    cell.className = name;
    row.append(cell);
    return cell;
  });
  cells[0].textContent = channel;
  const entry = { row, value: cells[1], age: cells[2], count: cells[3], ts: 0, messages: 0 };
  rows.set(channel, entry);
  let before = null;
  for (const other of body.children) {
    if (other.firstChild.textContent > channel) { before = other; break; }
  }
  body.insertBefore(row, before);
  document.getElementById('empty').hidden = true;
  return entry;
}

function show(message) {
  const entry = rows.get(message.channel) || addRow(message.channel);
  const text = typeof message.data === 'string' ? message.data : JSON.stringify(message.data);
  entry.value.textContent = text.length > 400 ? text.slice(0, 400) + '…' : text;
  entry.ts = message.ts;
  entry.messages += 1;
  entry.count.textContent = entry.messages;
  entry.row.classList.add('fresh');
  setTimeout(() => entry.row.classList.remove('fresh'), 400);
}

function handle(frame) {
  switch (frame.type) {
    case 'message': show(frame); cursor = frame.cursor; break;
    case 'gap': cursor = null; break;
    case 'upstream': banner.hidden = frame.state === 'up'; break;
    case 'error': setState(frame.message, 'down'); break;
    case 'subscribed': setState('live', 'live'); delay = 500; break;
  }
}

function connect() {
  const scheme = location.protocol === 'https:' ? 'wss:' : 'ws:';
  socket = new WebSocket(`${scheme}//${location.host}/ws`, 'sluice.v1');
  socket.onmessage = (event) => handle(JSON.parse(event.data));
  socket.onopen = () => {
    banner.hidden = true;
    socket.send(JSON.stringify({ type: 'subscribe', id: 1, channel: filter, ...(cursor ? { cursor } : {}) }));
  };
  socket.onclose = () => {
    setState('reconnecting', 'down');
    setTimeout(connect, delay * (0.5 + Math.random() / 2));
    delay = Math.min(delay * 2, 15000);
  };
}

filterInput.addEventListener('change', () => {
  const next = filterInput.value.trim() || '#';
  if (socket.readyState === WebSocket.OPEN) {
    socket.send(JSON.stringify({ type: 'unsubscribe', channel: filter }));
    socket.send(JSON.stringify({ type: 'subscribe', id: 2, channel: next }));
  }
  filter = next;
  cursor = null;
  rows.clear();
  body.replaceChildren();
});

setInterval(() => {
  const now = Date.now();
  for (const entry of rows.values()) {
    const seconds = Math.max(0, Math.round((now - entry.ts) / 1000));
    entry.age.textContent = seconds < 120 ? `${seconds} s` : seconds < 7200 ? `${Math.round(seconds / 60)} min` : `${Math.round(seconds / 3600)} h`;
  }
}, 1000);

connect();
