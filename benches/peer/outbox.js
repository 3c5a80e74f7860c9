// The peer of the CPU figures: an outbox as a Node developer would write it, with Express and
// better-sqlite3. It verifies the signature, stores the callback durably, answers, and posts the call to
// Acquire until it is accepted.
//
//   node outbox.js DATABASE ACQUIRE_URL PUBLIC_URL AUTH_TOKEN
//
// Prints the port that it listens on.
import { createHmac, timingSafeEqual } from "node:crypto";
import Database from "better-sqlite3";
import express from "express";

const [path, acquire, publicUrl, token] = process.argv.slice(2);
const MAX_IN_FLIGHT = 32;
const POLL_INTERVAL_MS = 200;
const RETRY_AFTER_MS = 1000;

const database = new Database(path);
database.pragma("journal_mode = WAL");
database.pragma("synchronous = FULL");
database.exec(`
  CREATE TABLE IF NOT EXISTS outbox (
    id INTEGER PRIMARY KEY,
    sid TEXT NOT NULL,
    status TEXT NOT NULL,
    form TEXT NOT NULL,
    due INTEGER NOT NULL,
    sent INTEGER NOT NULL DEFAULT 0,
    UNIQUE (sid, status)
  );
  CREATE INDEX IF NOT EXISTS outbox_due ON outbox (due) WHERE sent = 0;
`);
const store = database.prepare(
  "INSERT INTO outbox (sid, status, form, due) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING",
);
const due = database.prepare(
  "SELECT id, form FROM outbox WHERE sent = 0 AND due <= ? ORDER BY due LIMIT ?",
);
const finish = database.prepare("UPDATE outbox SET sent = 1 WHERE id = ?");
const postpone = database.prepare("UPDATE outbox SET due = ? WHERE id = ?");

function isSigned(request) {
  const names = Object.keys(request.body).sort();
  const text = names.reduce((all, name) => all + name + request.body[name], publicUrl + request.originalUrl);
  const expected = Buffer.from(createHmac("sha1", token).update(text, "utf-8").digest("base64"));
  const given = Buffer.from(request.get("X-Twilio-Signature") ?? "");
  return expected.length === given.length && timingSafeEqual(expected, given);
}

function callEnd(form) {
  return {
    CallId: form.CallSid,
    event: "call-end",
    from: form.From,
    to: form.To,
    direction: form.Direction,
    status: form.CallStatus,
    duration: Number(form.CallDuration ?? 0),
    recordingUrl: form.RecordingUrl,
  };
}

const inFlight = new Set();

async function send({ id, form }) {
  try {
    const response = await fetch(acquire, {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify(callEnd(JSON.parse(form))),
    });
    await response.text();
    if (response.ok) finish.run(id);
    else postpone.run(Date.now() + RETRY_AFTER_MS, id);
  } catch {
    postpone.run(Date.now() + RETRY_AFTER_MS, id);
  } finally {
    inFlight.delete(id);
  }
  if (inFlight.size < MAX_IN_FLIGHT / 2) sendDue();
}

function sendDue() {
  const free = MAX_IN_FLIGHT - inFlight.size;
  if (free <= 0) return;
  // Rows in flight are still unsent, so that many more are read.
  for (const row of due.all(Date.now(), free + inFlight.size)) {
    if (inFlight.has(row.id) || inFlight.size >= MAX_IN_FLIGHT) continue;
    inFlight.add(row.id);
    send(row);
  }
}

const app = express();
app.use(express.urlencoded({ extended: false }));
app.post("/twilio/voice/status", (request, response) => {
  if (!isSigned(request)) return response.status(403).end();
  const { CallSid, CallStatus } = request.body;
  store.run(CallSid, CallStatus, JSON.stringify(request.body), Date.now());
  response.status(204).end();
});
const server = app.listen(0, "127.0.0.1", () => console.log(`127.0.0.1:${server.address().port}`));
setInterval(sendDue, POLL_INTERVAL_MS);
