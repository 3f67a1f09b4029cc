/** Who is signed in: a token or API key, kept for this tab only and never in an address. */
import type { Identity } from '../client/index';

const KEY = 'sluice-token';

/** A page in a frame of another site may be denied its storage. */
export const storage = (which: 'sessionStorage' | 'localStorage'): Storage | undefined => {
  try {
    return window[which];
  } catch {
    return undefined;
  }
};

let token = storage('sessionStorage')?.getItem(KEY) || undefined;

export const signedIn = (): string | undefined => token;

/** From now on; undefined: nobody. `keep` it when the gateway has taken it. */
export function useToken(text: string | undefined): void {
  token = text;
  if (!text) storage('sessionStorage')?.removeItem(KEY);
}

export function keepToken(): void {
  if (token) storage('sessionStorage')?.setItem(KEY, token);
}

/** fetch() from the gateway as who is signed in. The gateway may sit below a prefix: its addresses are relative to the page. */
export const api = (path: string, init: RequestInit = {}): Promise<Response> =>
  fetch('.' + path, { ...init, headers: token ? { Authorization: `Bearer ${token}` } : {} });

/** What a JWT says of itself, for transports over which the gateway does not say it. Nothing is decided by it. */
export function claims(): Identity {
  try {
    const [, body] = token!.split('.');
    const bytes = Uint8Array.from(atob(body.replace(/-/g, '+').replace(/_/g, '/')), (c) => c.charCodeAt(0));
    const { sub, exp } = JSON.parse(new TextDecoder().decode(bytes));
    return { subject: typeof sub === 'string' ? sub : undefined, expires: typeof exp === 'number' ? exp * 1000 : undefined };
  } catch {
    return {}; // an API key
  }
}
