// The overview: what waits, how fast and how dear it is, whether the LLMs answer, and the parts.

import { $, cost } from "../dom.js";
import { Plot } from "./plots.js";
import { Rows, age, number, pill, span } from "./rows.js";

const BREAKERS = ["closed", "half-open", "open"];
const milliseconds = (value) => span(value / 1000);
const dollars = (value) => cost(value) || "$0";

export class Live {
  #costsAt = 0;
  deadLetters = null; // how many there are, as the queue says; null where nobody knows

  constructor(api, access) {
    Object.assign(this, { api, access });
    this.queue = new Plot("Queue", ["waiting", "in work"], number);
    this.oldest = new Plot("Oldest open message", ["age"], span);
    this.ended = new Plot("Messages a minute", ["answered", "failed"], number);
    this.total = new Plot("Time to the whole answer", ["p50", "p95"], milliseconds);
    this.first = new Plot("Time to the first text", ["p50", "p95"], milliseconds);
    this.cost = new Plot("Cost a minute", ["cost"], dollars);
    $("plots").append(...[this.queue, this.ended, this.total, this.first, this.oldest, this.cost].map(({ element }) => element));
    this.llms = new Rows($("llms"), {
      label: "LLMs and their breakers",
      columns: [{ name: "LLM" }, { name: "Breaker" }, { name: "Errors", number: true }, { name: "Opened", number: true }, { name: "Again in", number: true }],
      keyOf: ({ provider, model }) => `${provider} ${model}`,
      cells: ({ provider, model, breaker, errors, opened, retry_after: again }) => [`${provider} ${model}`, pill(breaker), number(errors), number(opened), again ? span(again) : ""],
      none: "No worker is alive, so nobody asks an LLM.",
    });
    this.costs = new Rows($("costs"), {
      label: "Cost of the last day, by model",
      columns: [{ name: "Model" }, { name: "Messages", number: true }, { name: "Tokens in", number: true }, { name: "Tokens out", number: true }, { name: "Cost", number: true }],
      keyOf: ({ name }) => name,
      cells: (row) => [row.name, number(row.messages), number(row.input_tokens), number(row.output_tokens), row.attempts && row.unknown_attempts === row.attempts ? "not known" : dollars(row.cost_usd) + (row.unknown_attempts ? " + ?" : "")],
      none: "Nothing was asked of an LLM in the last day.",
    });
    this.parts = new Rows($("parts"), {
      label: "Parts of the stack",
      columns: [{ name: "Part" }, { name: "State" }, { name: "Seen", number: true }, { name: "Process", number: true }, { name: "Restarts", number: true }, { name: "Detail" }],
      keyOf: ({ name }) => name,
      cells: ({ name, state, seen, pid, restarts, detail }) => [name, pill(state), seen ? age(seen) : "", pid ?? "", restarts == null ? "" : number(restarts), detail],
      none: "No part gives a sign of life.",
    });
  }

  // Look once; it is drawn also while another view is shown, so that the plots have no holes.
  async tick(shown) {
    const live = await this.api.call("GET", "/operator/live");
    this.#draw(live);
    this.deadLetters = live.dead_letters;
    const count = live.dead_letters ?? 0;
    $("letters-count").hidden = !count;
    $("letters-count").textContent = number(count);
    if (shown) {
      this.parts.show(parts(await this.access.parts(), live));
      if (Date.now() - this.#costsAt > 30_000) await this.#sum();
    }
  }

  #draw({ queue, oldest_open_seconds: oldest, ended, latencies, cost_usd: spent, workers }) {
    this.queue.add([queue?.waiting, queue?.in_flight], {
      value: queue ? number(queue.waiting) : "–",
      note: queue ? `waiting, ${number(queue.in_flight)} in work` : "SQS does not answer",
    });
    const failed = ended.failed + ended.dead_lettered;
    this.ended.add([ended.done, failed], { value: number(ended.done), note: `answered, ${number(failed)} failed`, tone: failed ? "bad" : "" });
    for (const [plot, { p50, p95 }] of [[this.total, latencies.total_ms ?? {}], [this.first, latencies.first_text_ms ?? {}]])
      plot.add([p50, p95], { value: p50 == null ? "–" : milliseconds(p50), note: p95 == null ? "no answer in the last minute" : `half of them; ${milliseconds(p95)} or less: 95 of 100` });
    this.oldest.add([oldest ?? 0], { value: oldest == null ? "none" : span(oldest), note: oldest == null ? "nothing waits for its end" : "since it was accepted", tone: oldest > 60 ? "bad" : "" });
    this.cost.add([spent], { value: spent == null ? "–" : dollars(spent), note: spent == null ? "nothing, or not known" : "of what ended in the last minute" });
    this.llms.show(worst(workers));
  }

  async #sum() {
    this.#costsAt = Date.now();
    const { rows, total } = await this.api.call("GET", "/operator/costs");
    this.costs.show(rows.length > 1 ? [...rows, { ...total, name: "in all" }] : rows);
  }
}

// For each LLM the route of the worker to which its breaker is least closed.
function worst(workers) {
  const found = new Map();
  for (const route of workers.flatMap(({ routes }) => routes)) {
    const name = `${route.provider} ${route.model}`, seen = found.get(name);
    if (!seen || BREAKERS.indexOf(route.breaker) > BREAKERS.indexOf(seen.breaker)) found.set(name, route);
  }
  return [...found.values()];
}

// The parts as the supervisor knows them, with what they say of themselves; elsewhere those that give signs of life.
function parts(local, { workers, gateways }) {
  const alive = [
    ...workers.map((one) => ({ ...one, kind: "worker", says: `${number(one.in_work)} in work` })),
    ...gateways.map((one) => ({ ...one, kind: "gateway", says: `${number(one.connections)} connected` })),
  ];
  const seen = ({ seen_at: at }) => new Date(at * 1000).toISOString();
  if (!local.length) return alive.map((one) => ({ name: one.id, state: "alive", seen: seen(one), pid: one.pid, restarts: null, detail: one.says }));
  return local.map(({ name, state, pid, restarts, detail, reason }) => {
    const one = alive.find((each) => each.pid === pid);
    return { name, state, seen: one && seen(one), pid, restarts, detail: [reason || detail, one?.says].filter(Boolean).join(" · ") };
  });
}
