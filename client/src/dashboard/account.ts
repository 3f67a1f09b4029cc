/** Signing in and out, who is signed in, and until when. */
import type { Identity, Sluice } from '../client/index';
import { byId, el, setText } from './dom';
import { age } from './format';
import { claims, keepToken, signedIn, useToken } from './session';

const SOON = 120_000; // ms before the end that it is pointed out

export class Account {
  private form = byId<HTMLFormElement>('sign-in');
  private field = byId<HTMLInputElement>('token');
  private error = byId('sign-in-error');
  private submit = byId<HTMLButtonElement>('sign-in-submit');
  private cancel = byId<HTMLButtonElement>('sign-in-cancel');
  private line = byId('account');
  private who = el('b', {});
  private until = el('span', {});
  private identity: Identity = {};
  private trying = false;
  private taken = false; // the token, by the gateway

  /** onChange: somebody else is here now. */
  constructor(private client: Sluice, private onChange: () => void) {
    this.form.addEventListener('submit', (event) => {
      event.preventDefault();
      this.signIn();
    });
    this.cancel.addEventListener('click', () => this.show(false));
    this.line.append(
      el('span', { class: 'who' }, el('span', {}, 'Signed in as ', this.who), ' ', this.until),
      el('button', { type: 'button', class: 'plain small', 'data-testid': 'sign-out', click: () => this.signOut() }, 'Sign out'),
    );
    byId('offer-sign-in').addEventListener('click', () => this.demand('', true));
    client.on('identity', (identity) => {
      this.identity = identity;
      this.clock();
    });
    client.on('state', ({ state, reason }) => {
      if (state === 'live') this.accepted();
      else if (state === 'unauthorized') this.refused(reason || '');
    });
    setInterval(() => this.clock(), 1000);
  }

  /** The gateway may have more to show to somebody it knows. */
  offer(): void {
    byId('offer-sign-in').hidden = !!signedIn();
  }

  private demand(problem: string, optional = false): void {
    this.cancel.hidden = !optional;
    setText(this.error, problem);
    this.field.setAttribute('aria-invalid', String(!!problem));
    this.show(true);
    this.field.focus();
  }

  private show(form: boolean): void {
    this.form.hidden = !form;
    document.body.classList.toggle('signing-in', form);
  }

  private signIn(): void {
    const token = this.field.value.trim();
    if (!token) return this.demand('Paste a token or an API key.', !this.cancel.hidden);
    // What no header may hold can't be a token, and fetch() would throw at it.
    if (!/^[\x21-\x7e]+$/.test(token)) return this.demand('This is no token: it has blanks or letters that tokens never have.', !this.cancel.hidden);
    this.trying = true;
    this.submit.disabled = true;
    setText(this.error, '');
    this.identity = {};
    useToken(token);
    this.client.setToken(token);
  }

  private accepted(): void {
    this.submit.disabled = false;
    if (this.trying) {
      this.trying = false;
      this.field.value = '';
      keepToken();
      byId('offer-sign-in').hidden = true;
      this.onChange();
    } else if (!this.form.hidden) {
      this.cancel.hidden = false; // without a token one may be let in, and out again: whoever types goes on typing
    }
    this.taken = !!signedIn();
    if (this.taken) this.show(false);
    this.clock();
  }

  private refused(reason: string): void {
    const had = signedIn();
    this.trying = this.submit.disabled = false;
    this.identity = {};
    this.cancel.hidden = true;
    if (had) {
      useToken(undefined);
      this.onChange();
      this.client.setToken(undefined); // the gateway may let anonymous clients see something
    }
    const problem = this.taken ? 'You were signed out' : 'The gateway does not take this token';
    if (had || this.form.hidden) this.demand(had ? `${problem}: ${reason}` : '');
    this.taken = false;
    this.clock();
  }

  private signOut(): void {
    useToken(undefined);
    location.reload(); // nothing of what was seen stays in the page
  }

  private clock(): void {
    this.line.hidden = !signedIn() || this.trying || !this.form.hidden;
    if (this.line.hidden) return;
    const own = claims();
    const { subject = own.subject, expires = own.expires } = this.identity;
    setText(this.who, subject || 'API key');
    const left = expires ? expires - Date.now() : 0;
    const end = new Date(expires || 0);
    const today = end.toDateString() === new Date().toDateString();
    setText(this.until, expires ? `until ${end.toLocaleString([], today ? { timeStyle: 'short' } : { dateStyle: 'medium', timeStyle: 'short' })} (${left > 0 ? age(left) + ' left' : 'over'})` : '');
    this.line.classList.toggle('soon', !!expires && left < SOON);
  }
}
