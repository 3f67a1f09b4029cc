/** What a tab and the hub say to one another, and the name by which they meet. */
import type { Options, StateEvent } from '../client/types.js';

/** The first thing that a tab says. */
export interface Opening {
  base: string;
  token?: string;
  options: Options;
  /** A Web Lock that the tab holds while it lives. */
  lock?: string;
}

/** From a tab. `text`: a frame of the WebSocket protocol. */
export type Up = { open: Opening } | { text: string } | 'close';

/** To a tab. `frame`: one of the WebSocket protocol. `end`: the tab's socket closes. */
export interface Down {
  frame?: any;
  status?: StateEvent;
  complain?: { code: string; message: string };
  end?: { code?: number; reason: string };
}

/** A tab's end of it. */
export interface Line {
  send(up: Up): void;
  close(): void;
}

/** What a JWT says, unless it says nothing that can be read. Nothing is allowed by it: the gateway decides. */
export function claims(token = ''): any {
  try {
    const [, body] = /^[\w-]+\.([\w-]+)\.[\w-]*$/.exec(token)!;
    return JSON.parse(decodeURIComponent(escape(atob(body.replace(/-/g, '+').replace(/_/g, '/')))));
  } catch {
    return undefined;
  }
}

/** Two tokens of one user that differ in their times only are the same. Anything else counts as another user. */
function whose(token?: string): unknown {
  const said = claims(token);
  if (!said) return token || '';
  for (const name of ['exp', 'iat', 'nbf', 'jti']) delete said[name];
  return Object.entries(said).sort(([a], [b]) => (a < b ? -1 : 1));
}

/** Two sums of 32 bits over all characters: no secret is in a name. */
function digest(text: string): string {
  let a = 0x811c9dc5;
  let b = 0x9e3779b9;
  for (let i = 0; i < text.length; i++) {
    a = Math.imul(a ^ text.charCodeAt(i), 0x01000193);
    b = Math.imul((b << 13) | (b >>> 19), 0x85ebca6b) ^ a;
  }
  return [a, b].map((sum) => (sum >>> 0).toString(36)).join('-');
}

export const nameOf = ({ base, token, options }: Opening): string =>
  'sluice ' + digest(JSON.stringify([base, whose(token), options.transports, options.credentials]));
