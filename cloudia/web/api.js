// The HTTP API. Every failure is an ApiError with what the API said: message, hint, code.

const DEADLINE = 35_000;

export class ApiError extends Error {
  constructor(status, { message, hint = "", code = "failed" }) {
    super(message);
    Object.assign(this, { status, hint, code });
  }

  // Whether the request may not have arrived, or may work when it is sent again.
  get passing() {
    return this.status === 0 || this.status === 429 || this.status >= 500;
  }
}

export class Api {
  #ahead = 0; // how far the stack's clock is ahead of this machine's, in milliseconds

  // `access` returns { apiUrl, token }; `renew` gets another token after a 401.
  constructor({ access, renew }) {
    Object.assign(this, { access, renew });
  }

  accept(message) {
    return this.call("POST", "/messages", message);
  }

  job(jobId) {
    return this.call("GET", `/jobs/${jobId}`);
  }

  cancel(jobId) {
    return this.call("POST", `/jobs/${jobId}/cancel`);
  }

  // With `search`, those whose title or newest messages have its words; the others of the page are left out.
  conversations({ search, cursor, signal } = {}) {
    return this.call("GET", `/conversations?${query({ limit: search ? 50 : 100, search, cursor })}`, undefined, { signal });
  }

  messages(conversationId, cursor, limit = 30) {
    return this.call("GET", `/conversations/${conversationId}/messages?${query({ order: "desc", limit, cursor })}`);
  }

  rename(conversationId, title) {
    return this.call("PATCH", `/conversations/${conversationId}`, { title });
  }

  remove(conversationId) {
    return this.call("DELETE", `/conversations/${conversationId}`);
  }

  // The time by the stack's clock: what it dates is compared with this.
  now() {
    return Date.now() + this.#ahead;
  }

  // Ask for a path. What else there is to ask than the above is its own list's: see dashboard/.
  async call(method, path, body, { signal, again = false } = {}) {
    const { apiUrl, token } = this.access();
    const headers = { authorization: `Bearer ${token}` };
    if (body) headers["content-type"] = "application/json";
    let answer;
    try {
      answer = await fetch(apiUrl + path, {
        method,
        headers,
        body: body && JSON.stringify(body),
        signal: signal ? AbortSignal.any([AbortSignal.timeout(DEADLINE), signal]) : AbortSignal.timeout(DEADLINE),
        cache: "no-store",
        credentials: "omit",
      });
    } catch {
      throw new ApiError(0, { message: "The HTTP API cannot be reached.", hint: "Is the stack running? See `cloudia status`.", code: "unreachable" });
    }
    const date = Date.parse(answer.headers.get("date"));
    if (date) this.#ahead = date - Date.now();
    if (answer.status === 401 && !again) {
      await this.renew();
      return this.call(method, path, body, { signal, again: true });
    }
    const value = await answer.json().catch(() => ({}));
    if (answer.ok) return value;
    const error = value.error ?? { message: `The HTTP API answered ${answer.status}.` };
    throw new ApiError(answer.status, { ...error, message: sentence(error.message) });
  }
}

function query(parameters) {
  return new URLSearchParams(Object.entries(parameters).filter(([, value]) => value != null));
}

// The API's messages begin in lower case and end without a stop, as the command line prints them.
export function sentence(text) {
  const begun = text.charAt(0).toUpperCase() + text.slice(1);
  return /[.!?]$/.test(begun) ? begun : `${begun}.`;
}
