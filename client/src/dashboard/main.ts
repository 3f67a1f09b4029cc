/** The dashboard: everything that the gateway shows, through its own client. */
import { Sluice } from '../client/index';
import { Account } from './account';
import { Detail } from './detail';
import { byId } from './dom';
import { List } from './list';
import { PublishBox } from './publish';
import { signedIn } from './session';
import { Status } from './status';
import { type Channel, Store, history } from './store';
import { Watch } from './watch';

const PREFILL = 40; // sparklines filled from history, so that the page is not bare at first

const client = new Sluice('.', { token: signedIn() });
const store = new Store();
const nameInHash = (): string | undefined => {
  const found = /^#\/channels\/(.+)$/.exec(location.hash);
  return found ? decodeURIComponent(found[1]) : undefined;
};

const list = new List(store, (channel) => {
  location.hash = '#/channels/' + encodeURIComponent(channel.name);
});
const detail = new Detail(client, () => {
  const name = detail.channel?.name;
  history_back();
  if (name) list.focus(name);
});
const status = new Status(client, () => {
  list.repaint();
  detail.repaint();
});

function history_back(): void {
  window.history.replaceState(null, '', location.pathname);
  show(false);
}

/** The address says what is selected, so that it can be shared and the back button works. */
function show(focus = true): void {
  const name = nameInHash();
  const channel = name === undefined ? undefined : store.channels.get(name);
  if (channel) detail.open(channel, focus);
  else detail.close();
  list.mark(channel?.name);
}

window.addEventListener('hashchange', () => show());

let prefilled = 0;
async function prefill(channel: Channel): Promise<void> {
  if (prefilled++ >= PREFILL || channel.field === undefined) return;
  const live = channel.spark;
  channel.spark = [];
  for (const message of await history(channel.name, 60).catch(() => [])) channel.note(message.data);
  if (channel.spark.length < live.length) channel.spark = live;
  list.refresh(channel);
}

store.onChange((channel, isNew) => {
  if (isNew) {
    if (channel.name === nameInHash()) show(false);
    void prefill(channel);
  } else if (channel === detail.channel) {
    detail.update(channel.message!);
  }
});

const filter = byId<HTMLInputElement>('filter');
filter.addEventListener('input', () => list.setFilter(filter.value));
document.addEventListener('keydown', (event) => {
  const typing = /^(input|textarea|select)$/i.test((event.target as HTMLElement).tagName);
  if (event.key === '/' && !typing && !event.ctrlKey && !event.metaKey) {
    filter.focus();
    event.preventDefault();
  }
  if (event.key === 'Escape' && event.target === filter) {
    filter.value = '';
    list.setFilter('');
  }
  if (event.key === 'ArrowDown' && event.target === filter) {
    document.querySelector<HTMLButtonElement>('li:not([hidden]) > button.row')?.focus();
    event.preventDefault();
  }
});

const dialog = byId<HTMLDialogElement>('dialog');
const channelField = byId<HTMLInputElement>('dialog-channel');
byId('dialog-box').append(new PublishBox(client, () => channelField.value.trim()).element);
byId('compose').addEventListener('click', () => {
  if (detail.channel && !channelField.value) channelField.value = detail.channel.name;
  dialog.showModal();
});

function forget(unless: (name: string) => boolean): void {
  for (const name of [...store.channels.keys()]) {
    if (unless(name)) continue;
    if (detail.channel?.name === name) history_back();
    store.forget(name);
    list.remove(name);
  }
}

const account = new Account(client, () => {
  forget(() => false);
  prefilled = 0;
  status.limited(false);
  watch.restart();
});
const watch = new Watch(
  client,
  (message) => store.take(message),
  () => {
    status.limited(true);
    account.offer();
  },
  forget,
  (text) => status.notice(text),
);
