// The protocol: OAuth 2.0 for browser applications, with OpenID Connect to learn who
// signed in. No state, no page: every function takes what it needs and answers what it
// learned, or throws one of these two:
//
//   Refused      the server said no, and will say no again
//   Unavailable  nobody said no (429, 5xx, no network): try again later
//
// Who mixes the two up signs people out because of an outage.

export class Refused extends Error {
  constructor(code, description) {
    super(description || code);
    this.code = code; // RFC 6749 section 5.2
  }
}

export class Unavailable extends Error {
  constructor(message, retryAfter = 0) {
    super(message);
    this.retryAfter = retryAfter; // seconds; 0: the server did not say
  }
}

/** discover reads where the endpoints are (OpenID Connect Discovery section 4). */
export async function discover(issuer) {
  const metadata = await send(`${issuer.replace(/\/$/, '')}/.well-known/openid-configuration`);
  // Else one server could pass for another (RFC 8414 section 3.3).
  if (metadata.issuer !== issuer) throw new Refused('invalid_issuer', `${issuer} says that it is the issuer ${metadata.issuer}.`);
  return metadata;
}

/**
 * authorizationRequest makes the address to send the person to, and the transaction:
 * what must be known again when the answer comes.
 */
export async function authorizationRequest(metadata, clientID, redirectURI) {
  const transaction = {
    state: random(), // ties the answer to this tab: nobody can slip us theirs
    nonce: random(), // ties the ID token to this request
    verifier: random(), // PKCE: a code is worthless without it (RFC 7636)
  };
  const url = new URL(metadata.authorization_endpoint);
  const parameters = {
    response_type: 'code',
    client_id: clientID,
    redirect_uri: redirectURI,
    scope: 'openid profile',
    state: transaction.state,
    nonce: transaction.nonce,
    code_challenge: await s256(transaction.verifier),
    code_challenge_method: 'S256',
  };
  for (const [name, value] of Object.entries(parameters)) url.searchParams.set(name, value);
  return { url: url.href, transaction };
}

/**
 * redeem checks the answer that the browser was redirected with, and trades its code
 * for tokens. Nothing in an answer counts, not even an error, before it is known to be
 * ours (state) and the issuer's (iss, RFC 9207).
 */
export async function redeem(metadata, clientID, redirectURI, answer, transaction) {
  if (!transaction || answer.get('state') !== transaction.state) {
    throw new Refused('unknown_state', 'That answer belongs to no sign-in of this tab. It was ignored.');
  }
  if (answer.get('iss') !== metadata.issuer) {
    throw new Refused('unknown_issuer', 'That answer is not from the issuer. It was ignored.');
  }
  if (answer.has('error')) throw new Refused(answer.get('error'), explain(answer));
  const tokens = await token(metadata, {
    grant_type: 'authorization_code',
    client_id: clientID,
    redirect_uri: redirectURI,
    code: answer.get('code') ?? '',
    code_verifier: transaction.verifier,
  });
  try {
    return { ...tokens, claims: readIDToken(tokens.idToken, metadata.issuer, clientID, transaction.nonce) };
  } catch (error) {
    // These are not the tokens that we asked for, and a cookie came with them: it must
    // not become a session at the next renewal.
    await revoke(metadata, clientID).catch(() => {});
    throw error;
  }
}

function explain(answer) {
  if (answer.get('error') === 'access_denied') return 'The sign-in was not allowed.';
  return `The sign-in failed: ${answer.get('error_description') || answer.get('error')}`;
}

/** renew trades the refresh token, which only the browser knows, for new tokens. */
export async function renew(metadata, clientID) {
  // No refresh_token parameter: it is the cookie.
  const tokens = await token(metadata, { grant_type: 'refresh_token', client_id: clientID });
  // Without nonce: that one was for the redirect (OpenID Connect Core section 12.2).
  return { ...tokens, claims: tokens.idToken && readIDToken(tokens.idToken, metadata.issuer, clientID) };
}

/**
 * userinfo answers what the person of the ID token is called (OpenID Connect Core
 * section 5.3). An ID token need not say more than sub.
 */
export async function userinfo(metadata, accessToken, sub) {
  const info = await send(metadata.userinfo_endpoint, { headers: { Authorization: `Bearer ${accessToken}` } });
  // Else one person's token could show another's name (section 5.3.2).
  if (info.sub !== sub) throw new Refused('invalid_userinfo', 'That is another person.');
  return info;
}

/** revoke ends the session of this application (RFC 7009), and takes the cookie away. */
export async function revoke(metadata, clientID) {
  await post(metadata.revocation_endpoint, { client_id: clientID });
}

/**
 * signOutRequest makes the address where the person signs out of the issuer itself, and
 * with it of every other application (OpenID Connect RP-Initiated Logout).
 */
export function signOutRequest(metadata, clientID, returnTo, idToken) {
  const url = new URL(metadata.end_session_endpoint);
  url.searchParams.set('client_id', clientID);
  url.searchParams.set('post_logout_redirect_uri', returnTo);
  // With the hint the issuer knows who asks, and need not ask the person.
  if (idToken) url.searchParams.set('id_token_hint', idToken);
  return url.href;
}

async function token(metadata, parameters) {
  const asked = Date.now(); // and not when the answer came: rather too early than too late
  const answer = await post(metadata.token_endpoint, parameters);
  if (!answer.access_token || answer.token_type?.toLowerCase() !== 'bearer') {
    throw new Unavailable('That was not an answer of a token endpoint.'); // so nobody said no
  }
  return {
    accessToken: answer.access_token,
    expiresAt: asked + 1000 * (answer.expires_in ?? 0),
    idToken: answer.id_token,
  };
}

/**
 * readIDToken answers the claims, after the checks of OpenID Connect Core section
 * 3.1.3.7. The signature is not among them: the token came from the token endpoint
 * itself, over TLS, and not through anybody's hands (item 6). It only says whose page
 * this is; what a person may do is for the API to decide, by the access token.
 */
export function readIDToken(token, issuer, clientID, nonce) {
  const wrong = (what) => new Refused('invalid_id_token', `The ID token has the wrong ${what}.`);
  let claims;
  try {
    claims = JSON.parse(new TextDecoder().decode(fromBase64url(token.split('.')[1])));
  } catch {
    throw wrong('form');
  }
  const audience = [claims.aud].flat();
  if (claims.iss !== issuer) throw wrong('issuer');
  if (!audience.includes(clientID) || (claims.azp ?? clientID) !== clientID) throw wrong('audience');
  if (audience.length > 1 && claims.azp !== clientID) throw wrong('audience');
  if (!(claims.exp * 1000 > Date.now() - 60_000)) throw wrong('time'); // a minute for clocks that differ
  if (nonce !== undefined && claims.nonce !== nonce) throw wrong('nonce');
  if (!claims.sub) throw wrong('subject');
  return claims;
}

// A form needs no preflight (Fetch standard, section 2.2.2), and is what the endpoints
// take. `credentials: include` sends and keeps the issuer's cookie, which an HttpOnly
// cookie of another origin needs. `keepalive` lets the browser finish a renewal whose
// page was closed meanwhile, so that the next page finds the new cookie.
function post(url, parameters) {
  return send(url, { method: 'POST', body: new URLSearchParams(parameters), credentials: 'include', keepalive: true });
}

async function send(url, options) {
  let response;
  let body;
  try {
    response = await fetch(url, { cache: 'no-store', redirect: 'error', signal: AbortSignal.timeout(15_000), ...options });
    body = await response.text();
  } catch {
    // Browsers do not tell a script which of the two it was.
    throw new Unavailable(`No answer that this page may read from ${new URL(url).origin}: it is down, or does not know the client or this page's origin (${location.origin}).`);
  }
  const answer = parse(body);
  if (response.ok) return answer;
  if (response.status === 429 || response.status >= 500) {
    throw new Unavailable(answer.error_description || `The server can not answer now (${response.status}).`, retryAfter(response));
  }
  throw new Refused(answer.error || `http_${response.status}`, answer.error_description);
}

function parse(body) {
  try {
    return JSON.parse(body);
  } catch {
    return {}; // RFC 7009 answers a revocation with nothing
  }
}

/** retryAfter is the header in seconds, in either of its forms (RFC 9110 section 10.2.3). */
export function retryAfter(response) {
  const value = response.headers.get('Retry-After') ?? '';
  const seconds = /^\d+$/.test(value) ? Number(value) : (Date.parse(value) - Date.now()) / 1000;
  return seconds > 0 ? Math.ceil(seconds) : 0;
}

function random() {
  return base64url(crypto.getRandomValues(new Uint8Array(32)));
}

async function s256(verifier) {
  return base64url(new Uint8Array(await crypto.subtle.digest('SHA-256', new TextEncoder().encode(verifier))));
}

function base64url(bytes) {
  return btoa(String.fromCharCode(...bytes)).replaceAll('+', '-').replaceAll('/', '_').replaceAll('=', '');
}

function fromBase64url(text) {
  return Uint8Array.from(atob(text.replaceAll('-', '+').replaceAll('_', '/')), (character) => character.charCodeAt(0));
}
