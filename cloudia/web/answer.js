// An answer as it comes in: what the page knows of a job from its events. No I/O.
// The states are those of cloudia/client/answer.py; tests/transcripts/ holds both to the same events.

const ENDS = { done: "done", cancelled: "cancelled" };

export class Answer {
  constructor(jobId) {
    this.jobId = jobId;
    this.status = "queued"; // queued running done failed cancelled dead_lettered
    this.text = "";
    this.attempts = 0;
    this.messageId = null;
    this.provider = null;
    this.model = null;
    this.usage = null;
    this.error = null;
    this.maxAttempts = null; // how many the worker makes at most, where it has told
    this.resets = []; // why the answer began anew, each time
  }

  get ended() {
    return this.status !== "queued" && this.status !== "running";
  }

  // Which attempt it is, in words: "attempt 2 of 5", or "attempt 2".
  get attemptText() {
    return `attempt ${Math.max(1, this.attempts)}${this.maxAttempts ? ` of ${this.maxAttempts}` : ""}`;
  }

  // Take the next event of this job.
  apply(event) {
    this.attempts = Math.max(this.attempts, event.attempt ?? 0);
    this.maxAttempts = event.max_attempts ?? this.maxAttempts;
    switch (event.type) {
      case "started":
        this.status = "running";
        break;
      case "reset":
        this.status = "running";
        this.text = "";
        this.resets.push(event.reason ?? "");
        break;
      case "delta":
        this.status = "running";
        this.text += event.text;
        break;
      case "done":
      case "cancelled":
        this.status = ENDS[event.type];
        this.messageId = event.message_id ?? null;
        this.provider = event.provider ?? null;
        this.model = event.model ?? null;
        this.usage = event.usage ?? null;
        break;
      case "error":
        this.status = event.status ?? "failed";
        this.error = event.error ?? {};
        break;
    }
  }
}
