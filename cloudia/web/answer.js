// An answer as it comes in: what the page knows of a job from its events. No I/O.
// The states are those of cloudia/client/answer.py; tests/transcripts/ holds both to the same events.

const ENDS = { done: "done", cancelled: "cancelled" };

// How an answer ended that is not all that the model had to say, in words.
const CUTS = {
  length: "cut off at the limit of tokens: ask it to go on",
  content_filter: "cut off by a content filter",
  refusal: "the model refused",
};

// Why a recorded or streamed answer is not a whole one; nothing where it is.
export const cutText = ({ status, finish }) => (status === "done" && CUTS[finish]) || "";

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
    this.finish = null; // why it ended: stop length content_filter refusal tool_calls error
    this.thinking = false; // whether the model reasons, and says nothing for now
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
    this.thinking = event.type === "thinking";
    switch (event.type) {
      case "thinking":
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
        this.finish = event.finish ?? null;
        break;
      case "error":
        this.status = event.status ?? "failed";
        this.error = event.error ?? {};
        this.finish = event.finish ?? null;
        break;
    }
  }
}
