/** What is looked at, as the part of the address behind #: a link or a bookmark is a saved view, and the back button works. */
import type { Sort, View } from './outline';

export interface Place {
  channel?: string;
  filter: string;
  view: View | 'log';
  sort: Sort;
  pins: string[];
}

const VIEWS = ['groups', 'tree', 'list', 'log'];
const SORTS = ['name', 'age', 'rate', 'value'];

const decode = (text: string): string | undefined => {
  try {
    return decodeURIComponent(text);
  } catch {
    return undefined; // somebody has typed it
  }
};

export function readPlace(hash = location.hash): Place {
  const [path, query = ''] = hash.replace(/^#/, '').split(/\?(.*)/s);
  const found = /^\/channels\/(.+)$/.exec(path);
  const params = new URLSearchParams(query);
  const one = (name: string, of: string[]): string => (of.includes(params.get(name) ?? '') ? params.get(name)! : of[0]);
  return {
    channel: found ? decode(found[1]) : undefined,
    filter: params.get('filter') ?? '',
    view: one('view', VIEWS) as Place['view'],
    sort: one('sort', SORTS) as Sort,
    pins: [...new Set(params.getAll('pin'))],
  };
}

export function formatPlace({ channel, filter, view, sort, pins }: Place): string {
  const params = new URLSearchParams();
  if (filter) params.set('filter', filter);
  if (view !== 'groups') params.set('view', view);
  if (sort !== 'name') params.set('sort', sort);
  for (const pin of pins) params.append('pin', pin);
  const query = String(params);
  const path = channel === undefined ? '/' : '/channels/' + encodeURIComponent(channel);
  return channel === undefined && !query ? '' : `#${path}${query ? '?' + query : ''}`;
}
