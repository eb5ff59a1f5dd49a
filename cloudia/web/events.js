// Which events count, and in what order: decisions without I/O.

export const TERMINAL_EVENTS = new Set(["done", "cancelled", "error"]);
export const TERMINAL_STATUSES = new Set(["done", "failed", "cancelled", "dead_lettered"]);

// Tell whether an event's id stands after another's; ids are `milliseconds-sequence`, each of 64 bits.
export function isAfter(id, last) {
  if (!last) return true;
  const [a, b] = [id, last].map((each) => each.split("-").map(BigInt));
  return a[0] > b[0] || (a[0] === b[0] && a[1] > b[1]);
}

// One job that is followed. Where events were lost, its text is not to be trusted and the job's record has the last word.
export class Following {
  #whole = false; // whether the answer's beginning was seen, and nothing was lost since

  // Return what to do with an event: "show" it, or "ask" for the record instead.
  take(event) {
    this.#whole ||= event.type === "started" || event.type === "reset";
    const terminal = TERMINAL_EVENTS.has(event.type);
    return this.#whole || !terminal || event.type === "error" ? "show" : "ask";
  }

  lose() {
    this.#whole = false;
  }
}

// Return the events that make of any state what the record of an ended job says.
export function fromRecord(job) {
  const base = { job_id: job.job_id, conversation_id: job.conversation_id, attempt: job.attempts };
  const events = [{ ...base, type: "reset", reason: "events_lost" }];
  if (job.reply?.content) events.push({ ...base, type: "delta", text: job.reply.content });
  const facts = { message_id: job.reply_message_id };
  if (job.status === "done") Object.assign(facts, { usage: job.usage, provider: job.provider, model: job.model, finish: job.finish });
  if (job.status === "done" || job.status === "cancelled") return [...events, { ...base, type: job.status, ...facts }];
  return [...events, { ...base, type: "error", status: job.status, error: job.error ?? {}, finish: job.finish }];
}

// From which event a page that is loaded again must be given the events, to rebuild the answers that were under way.
export class Checkpoint {
  #before = new Map(); // job → id of the event before its first one
  constructor(last = null) {
    this.last = last;
  }

  // Note an event that was taken; `last` moves on to it.
  note(event) {
    if (event.job_id && !this.#before.has(event.job_id)) this.#before.set(event.job_id, this.last);
    this.last = event.id;
  }

  end(jobId) {
    this.#before.delete(jobId);
  }

  get id() {
    for (const before of this.#before.values()) return before; // the first that began stands first
    return this.last;
  }
}
