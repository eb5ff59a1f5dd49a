// The page: one text box, and the answer as it streams in.
import { Session } from "./session.js";

const $ = (id) => document.getElementById(id);
const [log, state, composer, text, send, stop] = ["log", "state", "composer", "text", "send", "stop"].map($);

let conversation = null;
let job = null; // the job that is being answered
const answers = new Map(); // job id → { article, body, footer }

function show(role, content = "") {
  const article = document.createElement("article");
  const body = document.createElement("div");
  const footer = document.createElement("footer");
  article.className = role;
  body.textContent = content; // text only: nothing in a message is ever markup
  article.append(body, footer);
  log.append(article);
  article.scrollIntoView({ block: "end" });
  return { article, body, footer };
}

function answer(jobId) {
  if (!answers.has(jobId)) answers.set(jobId, show("assistant"));
  return answers.get(jobId);
}

function busy(jobId) {
  job = jobId;
  stop.hidden = !jobId;
  send.hidden = Boolean(jobId);
  log.setAttribute("aria-busy", String(Boolean(jobId)));
}

function apply(event) {
  const shown = answer(event.job_id);
  const atEnd = log.scrollHeight - log.scrollTop - log.clientHeight < 80;
  switch (event.type) {
    case "delta":
      shown.body.append(event.text);
      break;
    case "reset":
      shown.body.textContent = "";
      shown.footer.textContent = `attempt ${event.attempt}`;
      break;
    case "done":
      shown.footer.textContent = [event.model, event.usage && `${event.usage.output_tokens} tokens`].filter(Boolean).join(" · ");
      break;
    case "cancelled":
      shown.footer.textContent = "stopped";
      break;
    case "error":
      shown.article.classList.add("failed");
      shown.footer.textContent = [event.error.message, event.error.hint].filter(Boolean).join(" ");
      break;
  }
  if (atEnd) log.scrollTop = log.scrollHeight;
  if (["done", "cancelled", "error"].includes(event.type) && event.job_id === job) busy(null);
}

const session = new Session({ onEvent: apply, onState: (now) => (state.textContent = now) });

async function submit() {
  const content = text.value;
  if (!content.trim() || job) return;
  text.value = "";
  const mine = show("user", content);
  try {
    const accepted = await session.post("/messages", {
      content,
      session_id: session.id ?? undefined,
      conversation_id: conversation ?? undefined,
      idempotency_key: crypto.randomUUID(),
    });
    conversation = accepted.conversation_id;
    if (!session.hasEnded(accepted.job_id)) busy(accepted.job_id);
    session.follow(accepted.job_id);
  } catch (error) {
    mine.article.classList.add("failed");
    mine.footer.textContent = error.message;
    text.value = content;
  }
}

composer.addEventListener("submit", (event) => {
  event.preventDefault();
  submit();
});
text.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
    event.preventDefault();
    submit();
  }
});
stop.addEventListener("click", () => job && session.post(`/jobs/${job}/cancel`).catch(() => {}));

session.start().catch((error) => (state.textContent = error.message));
