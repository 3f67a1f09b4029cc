/** The dashboard: everything that the gateway shows, through its own client. */
import { Sluice } from '../client/index';
import { Account } from './account';
import { type Place, formatPlace, readPlace } from './address';
import { Detail } from './detail';
import { byId } from './dom';
import { Empty } from './empty';
import { Feed } from './feed';
import { List } from './list';
import { Operator } from './operator';
import { matcher } from './outline';
import { Past } from './past';
import { PublishBox, mayPublish } from './publish';
import { Search } from './search';
import { signedIn } from './session';
import { Status } from './status';
import { Store } from './store';
import { compareClocks } from './time';
import { Watch } from './watch';

const client = new Sluice('.', { token: signedIn() });
const store = new Store();
let place: Place = readPlace();
let counted = { shown: 0, all: 0 };

const empty = new Empty(() => setFilter(''));
const past = new Past((channel) => list.refresh(channel));
const list = new List(
  store, (channel) => go({ channel: channel.name }, true), (channels) => past.want(channels),
  (shown, all) => {
    counted = { shown, all };
    status.count(shown, all, store.full);
    empty.show(shown, all, place.view === 'log');
  },
);
const feed = new Feed(byId('feed'), (name) => go({ channel: name }, true));
const detail = new Detail(client, {
  close: () => leave(),
  pinned: (name) => place.pins.includes(name),
  pin: (name) => go({ pins: place.pins.includes(name) ? place.pins.filter((pin) => pin !== name) : [...place.pins, name] }),
});
const status = new Status(client, () => {
  list.repaint();
  detail.repaint();
});
const search = new Search(client, store, () => !store.full && !watch.short, (text) => status.found(text));
new Operator();

// --- what is looked at ------------------------------------------------------------------------------------------------

const filter = byId<HTMLInputElement>('filter');
const view = byId<HTMLSelectElement>('view');
const sort = byId<HTMLSelectElement>('sort');

/** Goes there; `push`: the back button comes back. */
function go(change: Partial<Place>, push = false): void {
  const address = location.pathname + location.search + formatPlace({ ...place, ...change });
  if (push) history.pushState(null, '', address);
  else history.replaceState(null, '', address);
  show(push);
}

/** The address says what is looked at. */
function show(focus: boolean): void {
  const old = place;
  place = readPlace();
  view.value = place.view;
  sort.value = place.sort;
  sort.parentElement!.hidden = place.view === 'log' || place.view === 'tree';
  const log = place.view === 'log';
  byId('groups').hidden = log;
  feed.show(log, matcher(place.filter));
  if (old.view !== place.view || old.sort !== place.sort || String(old.pins) !== String(place.pins) || old === place) arrange();
  if (filter.value.trim() !== place.filter) filter.value = place.filter;
  if (old.filter !== place.filter) applyFilter();
  detail.open(place.channel, place.channel === undefined ? undefined : store.channels.get(place.channel), focus);
  list.mark(place.channel);
  status.selected(place.channel);
}

const arrange = (): void => list.arrange(place.view === 'log' ? 'groups' : place.view, place.view === 'tree' ? 'name' : place.sort, place.pins);

function applyFilter(): void {
  list.setFilter(place.filter);
  search.seek(place.filter, counted.shown);
}

function setFilter(text: string): void {
  filter.value = text;
  go({ filter: text.trim() });
}

function leave(): void {
  const name = place.channel;
  go({ channel: undefined });
  if (name !== undefined) list.focus(name);
}

addEventListener('popstate', () => show(false));
filter.addEventListener('input', () => go({ filter: filter.value.trim() }));
view.addEventListener('change', () => go({ view: view.value as Place['view'] }));
sort.addEventListener('change', () => go({ sort: sort.value as Place['sort'] }));

const menu = byId<HTMLDetailsElement>('menu');
document.addEventListener('click', (event) => {
  if (!menu.contains(event.target as Node)) menu.open = false;
});
document.addEventListener('keydown', (event) => {
  const target = event.target as HTMLElement;
  const typing = /^(input|textarea|select)$/i.test(target.tagName);
  if (event.key === '/' && !typing && !event.ctrlKey && !event.metaKey) {
    filter.focus();
    event.preventDefault();
  } else if (event.key === 'Escape' && !target.closest('dialog')) {
    if (menu.open) menu.open = false;
    else if (target === filter && filter.value) setFilter('');
    else if (place.channel !== undefined) leave();
  } else if (event.key === 'ArrowDown' && target === filter) {
    list.focusFirst();
    event.preventDefault();
  } else if (target === byId('list')) {
    list.onKey(event);
  }
});

// --- what comes -------------------------------------------------------------------------------------------------------

client.on('status', (told) => store.judge(told));
let compared = false; // the clocks, on this connection
client.on('state', ({ state }) => (compared &&= state === 'live'));
store.onChange(({ name }) => {
  if (compared) return;
  compared = true;
  void compareClocks(name).then((text) => text && status.notice(text));
});
store.onChange((channel, isNew) => {
  feed.take(channel);
  if (channel.name !== place.channel) return;
  if (isNew) detail.open(channel.name, channel, false);
  else detail.update(channel.message!);
});

const dialog = byId<HTMLDialogElement>('dialog');
const channelField = byId<HTMLInputElement>('dialog-channel');
byId('dialog-box').append(new PublishBox(client, () => channelField.value.trim()).element);
byId('compose').addEventListener('click', () => {
  if (place.channel && !channelField.value) channelField.value = place.channel;
  dialog.showModal();
});

function forget(unless: (name: string) => boolean): void {
  for (const name of [...store.channels.keys()]) {
    if (unless(name)) continue;
    if (place.channel === name) go({ channel: undefined });
    store.forget(name);
    list.remove(name);
  }
}

/** Where one may publish nothing at all, nothing offers it. */
async function offerPublish(): Promise<void> {
  byId('compose').hidden = !(await mayPublish());
}

const account = new Account(client, () => {
  forget(() => false);
  store.full = false;
  feed.clear();
  status.limited(false);
  watch.restart();
  void offerPublish();
});
const watch = new Watch(
  client,
  (message) => store.take(message),
  () => {
    status.limited(true);
    account.offer();
    void offerPublish();
  },
  forget,
  (text) => status.notice(text),
);
place.view === 'groups' && place.sort === 'name' && !place.pins.length || arrange();
if (place.filter) list.setFilter(place.filter);
show(false);
void offerPublish();
