// The page: it shows what the session says, and passes clicks on.

import { Session, transaction } from './session.js';
import { Refused, Unavailable, retryAfter } from './oauth.js';

const element = (id) => document.getElementById(id);

const config = await (await fetch('config.json', { cache: 'no-store' })).json();
const session = new Session(config, show);
let shown; // whose page it is

element('sign-in').addEventListener('click', () => session.signIn());
element('sign-out').addEventListener('click', () => session.signOut());
element('renew').addEventListener('click', () => session.renew().catch(() => {})); // the status says it
element('call-api').addEventListener('click', callAPI);
setInterval(showExpiry, 1000);
// The Back button can bring the page as it was left, with what is over by now.
addEventListener('pageshow', (event) => { if (event.persisted) session.resume(); });

const answer = takeAnswer();
const kept = transaction.take(); // always: who came back without an answer gave up
if (answer) await session.finish(answer, kept);
else await session.resume();

/** takeAnswer reads the redirect's answer and wipes it from the address bar, history and reloads. */
function takeAnswer() {
  const parameters = new URLSearchParams(location.search);
  if (location.search) history.replaceState(null, '', location.pathname);
  return parameters.has('code') || parameters.has('error') ? parameters : null;
}

async function callAPI() {
  const result = element('api-result');
  const caller = session.person?.sub;
  result.textContent = 'Calling …';
  const text = await session.fetch(config.api).then(describe, excuse);
  // Meanwhile somebody may have signed out, or in: then it is nobody's business any more.
  if (session.person?.sub === caller) result.textContent = text;
}

function excuse(error) {
  // There was no token for the call. The status says what that means.
  if (error instanceof Refused || error instanceof Unavailable) return `Not called: ${error.message}`;
  return 'The API did not answer, or does not allow this page to call it.';
}

async function describe(response) {
  const text = await response.text();
  if (response.ok) return `${response.status}\n${text}`;
  const reason = response.headers.get('WWW-Authenticate');
  const wait = retryAfter(response);
  return [
    `${response.status} ${text}`,
    reason && `Reason: ${reason}`,
    wait > 0 && `Try again in ${wait} s. You are still signed in.`,
  ].filter(Boolean).join('\n');
}

/** show is the only function that changes the page for a session. It sets text, never HTML. */
function show() {
  const focused = document.activeElement;
  const signedIn = session.state === 'signed-in';
  document.documentElement.dataset.state = session.state;
  element('status').textContent = session.message;
  element('problem').textContent = session.problem;
  element('who').textContent = signedIn ? nameOf(session.person) : 'nobody';
  element('sign-in').hidden = session.state !== 'signed-out';
  element('sign-out').hidden = !signedIn;
  element('call-api').hidden = !signedIn;
  element('renew').hidden = !signedIn && session.state !== 'unsure';
  if (shown !== session.person?.sub) element('api-result').textContent = 'Not called yet.'; // that was about somebody else
  shown = session.person?.sub;
  showExpiry();
  if (focused?.hidden) element('status').focus(); // or the keyboard starts at the top again
}

function nameOf({ name, preferred_username: username, sub }) {
  if (name && username) return `${name} (${username})`;
  return name || username || sub || 'somebody whom the issuer does not name';
}

function showExpiry() {
  element('expires').textContent = expiry(session.expiresAt);
}

function expiry(at) {
  if (at === undefined) return 'none';
  const left = Math.round((at - Date.now()) / 1000);
  const time = new Date(at).toLocaleTimeString();
  if (left <= 0) return `expired at ${time}; the next call renews it`;
  return `expires at ${time}, in ${left < 60 ? '' : `${Math.floor(left / 60)} min `}${left % 60} s`;
}
