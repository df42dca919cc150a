// Who is signed in, and the tokens. They are in private fields of one object and
// nowhere else: not in localStorage, not in sessionStorage, not in a cookie that a
// script can read, not in the page. A reload forgets them, and the refresh token in the
// issuer's HttpOnly cookie brings new ones.

import * as oauth from './oauth.js';

const early = 5_000; // a token that ends within this many milliseconds counts as over
const longest = 60; // seconds between two tries when the server is not well

export class Session {
  /** state is `starting`, `signed-in`, `signed-out`, or `unsure`: nobody could tell us yet. */
  state = 'starting';
  message = 'Starting …'; // what is going on
  problem = ''; // what went wrong last
  person = null; // who is signed in: sub, from the ID token, and names once they are known

  #config;
  #changed;
  #metadata;
  #tokens = null; // { accessToken, expiresAt, idToken, claims }
  #renewing = null; // one renewal serves all who wait for one
  #age = 0; // grows when the session ends: what was asked for before does not count any more
  #tries = 0;
  #timer;
  #tabs = new BroadcastChannel('grantor-spa');

  constructor(config, changed) {
    this.#config = config;
    this.#changed = changed;
    this.#tabs.onmessage = ({ data }) => this.#heard(data);
  }

  /** expiresAt is when the access token ends, in milliseconds; undefined: there is none. */
  get expiresAt() { return this.#tokens?.expiresAt; }

  /** signIn leaves the page. It comes back with an answer in its address: see finish. */
  async signIn() {
    try {
      const request = await oauth.authorizationRequest(await this.#discover(), this.#config.client_id, this.#home);
      transaction.keep(request.transaction);
      this.#say('Going to the sign-in page …');
      location.assign(request.url);
    } catch (error) {
      this.#say(this.message, error.message);
    }
  }

  /** finish takes the answer to signIn. Whatever becomes of it, the tab ends up knowing who is signed in. */
  async finish(answer, kept) {
    try {
      this.#say('Finishing the sign-in …');
      const metadata = await this.#discover();
      const tokens = await this.#alone(() => oauth.redeem(metadata, this.#config.client_id, this.#home, answer, kept));
      this.#accept(tokens, 'Signed in.');
      this.#tabs.postMessage('signed-in');
    } catch (error) {
      // There may be a session all the same, from before.
      await this.resume(error.message);
    }
  }

  /** resume finds out whether the browser still has a session: on load, and when another tab signed in. */
  async resume(problem = '') {
    if (!this.#tokens) this.state = 'starting';
    this.#say('Looking for your session …', problem);
    await this.renew(problem).catch(() => {}); // the state says it
  }

  /**
   * renew gets a new access token, and answers it. When that fails it throws, after
   * the state says why: signed out when the server refused, unchanged when it could
   * not answer.
   */
  renew(problem = '') {
    if (this.#renewing) return this.#renewing;
    const renewal = this.#renew(problem).finally(() => {
      if (this.#renewing === renewal) this.#renewing = null;
    });
    this.#renewing = renewal;
    return renewal;
  }

  async #renew(problem) {
    clearTimeout(this.#timer);
    const age = this.#age;
    try {
      const metadata = await this.#discover();
      const tokens = await this.#alone(() => oauth.renew(metadata, this.#config.client_id));
      if (age !== this.#age) throw new oauth.Refused('signed_out', 'You signed out meanwhile.');
      this.#accept(tokens, this.#tokens ? 'Renewed the access token.' : 'Signed in: your session went on.', problem);
      return tokens.accessToken;
    } catch (error) {
      if (age !== this.#age) throw error; // whoever ended the session said what to show
      if (error instanceof oauth.Unavailable) this.#tryLater(error, problem);
      else this.#refused(error, problem);
      throw error;
    }
  }

  /** fetch calls an API with the access token, a new one if need be, and once more after a 401. */
  async fetch(url) {
    const token = this.#fresh() ? this.#tokens.accessToken : await this.renew();
    const response = await bearer(url, token);
    if (response.status !== 401) return response;
    // Expired by the API's clock, or ended by somebody. Another call may have renewed it already.
    const next = this.#tokens && this.#tokens.accessToken !== token ? this.#tokens.accessToken : await this.renew();
    return bearer(url, next);
  }

  /** signOut ends the session here first, then at the issuer: it leaves the page. */
  async signOut() {
    this.#say('Signing out …');
    try {
      const metadata = await this.#discover();
      await this.#alone(() => oauth.revoke(metadata, this.#config.client_id)).catch(unlessOver);
      const idToken = this.#tokens?.idToken;
      this.#forget();
      this.#tabs.postMessage('signed-out');
      this.#say('Signed out here. Going to the sign-out page …');
      location.assign(oauth.signOutRequest(metadata, this.#config.client_id, this.#home, idToken));
    } catch (error) {
      // The session lives: saying "signed out" would be a lie.
      this.#say('Still signed in.', `Signing out failed; please try again. ${error.message}`);
    }
  }

  #heard(news) {
    if (news === 'signed-out') {
      this.#forget();
      this.#say('Signed out, in another tab.');
    }
    if (news === 'signed-in') {
      // Maybe as somebody else: nothing of before may stay.
      this.#forget();
      this.resume();
    }
  }

  #accept(tokens, message, problem = '') {
    // An issuer need not send an ID token at a renewal (OpenID Connect Core section 12.2): then the old one goes on.
    const { idToken = this.#tokens?.idToken, claims = this.#tokens?.claims ?? {} } = tokens;
    this.#tokens = { ...tokens, idToken, claims };
    this.#tries = 0;
    this.state = 'signed-in';
    if (!this.person || this.person.sub !== claims.sub) {
      this.person = { sub: claims.sub };
      this.#introduce(this.person);
    }
    this.#say(message, problem);
  }

  // Names are for people to read: without them the page works as well.
  async #introduce(person) {
    try {
      const info = await oauth.userinfo(this.#metadata, this.#tokens.accessToken, person.sub);
      if (this.person !== person) return; // meanwhile it is somebody else's page
      this.person = info;
      this.#changed();
    } catch {
      // sub is shown.
    }
  }

  #refused(error, problem) {
    const message = this.#tokens ? 'Your session is over. Please sign in again.' : 'Signed out.';
    this.#forget();
    // invalid_grant: the session is over. invalid_request: there is no cookie. Anything
    // else is a fault of the set-up, and has to be told.
    const expected = ['invalid_grant', 'invalid_request'].includes(error.code);
    this.#say(message, expected ? problem : error.message);
  }

  // The server's Retry-After counts; without one wait longer each time. The random part
  // keeps a thousand browsers from coming back in the same moment.
  #tryLater(error, problem) {
    if (!this.#tokens) this.state = 'unsure';
    const wait = Math.max(error.retryAfter, Math.min(2 ** this.#tries++, longest)) + Math.random();
    const seconds = Math.min(wait, 3600);
    this.#timer = setTimeout(() => this.renew(problem).catch(() => {}), seconds * 1000);
    const standing = this.#tokens ? 'You are still signed in.' : 'Nobody can say yet whether you are signed in.';
    this.#say(`${standing} Trying again in ${Math.ceil(seconds)} s.`, error.message);
  }

  #forget() {
    clearTimeout(this.#timer);
    this.#tokens = null;
    this.person = null;
    this.#renewing = null;
    this.#tries = 0;
    this.#age++;
    this.state = 'signed-out';
  }

  #fresh() { return this.#tokens !== null && Date.now() < this.#tokens.expiresAt - early; }

  get #home() { return new URL('/', location.href).href; } // the registered redirect URI

  async #discover() { return (this.#metadata ??= await oauth.discover(this.#config.issuer)); }

  // One tab at a time changes the cookie. Where the browser knows no locks, the issuer's
  // retry window helps: tabs that show it the same refresh token get the same successor.
  #alone(job) { return navigator.locks ? navigator.locks.request('grantor-spa', job) : job(); }

  #say(message, problem = '') {
    this.message = message;
    this.problem = problem;
    this.#changed();
  }
}

/**
 * transaction is the one thing that must outlive a page, because signing in leaves it:
 * PKCE's verifier, state and nonce. sessionStorage is this tab's alone; taking it
 * empties it. None of it is a token, and all of it is worthless when the code is used.
 */
export const transaction = {
  keep(values) { sessionStorage.setItem('sign-in', JSON.stringify(values)); },
  take() {
    const text = sessionStorage.getItem('sign-in');
    sessionStorage.removeItem('sign-in');
    return text && JSON.parse(text);
  },
};

// The token goes into the header and nowhere else (RFC 6750). No cookies go along.
function bearer(url, token) {
  return fetch(url, {
    headers: { Authorization: `Bearer ${token}` },
    credentials: 'omit',
    cache: 'no-store',
    signal: AbortSignal.timeout(15_000),
  });
}

// A session that was over already is as good as revoked.
function unlessOver(error) {
  if (!(error instanceof oauth.Refused)) throw error;
}
