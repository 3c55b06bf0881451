// A complete subscriber of banklink's events, with amqplib and SQLite.
//
// It declares a durable queue of its own and the dead-letter queue behind it, catches up once from the stream of events, and then
// consumes its queue. Each event is handled in one transaction, which also remembers its id; the event is acknowledged after the
// commit. So an event that arrives again changes nothing, and a process that is killed loses nothing.
//
//     npm install amqplib        # Node 22.13 or later, for node:sqlite
//     AMQP_URL=amqp://guest:guest@127.0.0.1:5672/%2f SUBSCRIBER_DATABASE=links.db node subscriber.js
//
// Environment: AMQP_URL; BANKLINK_NAMESPACE (banklink); SUBSCRIBER_QUEUE (accounts.bank-links); SUBSCRIBER_DATABASE (a file).
'use strict';

const amqp = require('amqplib');
const { DatabaseSync } = require('node:sqlite');

const namespace = process.env.BANKLINK_NAMESPACE || 'banklink';
const queue = process.env.SUBSCRIBER_QUEUE || 'accounts.bank-links';
const dead = `${queue}.dead`;
const log = `${namespace}.events.log`;
const PREFETCH = 100;
// The stream has been read once nothing came for that long, or once its events are that much newer than the start.
const IDLE_MS = 1000;
const MARGIN_SECONDS = 300;

// In this file, a commit is on disk when it returns.
const database = new DatabaseSync(process.env.SUBSCRIBER_DATABASE || 'subscriber.db');
database.exec(`
  PRAGMA journal_mode = WAL;
  PRAGMA synchronous = FULL;
  CREATE TABLE IF NOT EXISTS handled_events (id TEXT PRIMARY KEY);
  CREATE TABLE IF NOT EXISTS caught_up (at INTEGER NOT NULL);
  CREATE TABLE IF NOT EXISTS links (
    entity_id TEXT PRIMARY KEY, customer_id TEXT NOT NULL, revision INTEGER NOT NULL, permissions TEXT, data TEXT NOT NULL);
  CREATE TABLE IF NOT EXISTS actions (
    entity_id TEXT NOT NULL, event_type TEXT NOT NULL, times INTEGER NOT NULL, PRIMARY KEY (entity_id, event_type));
`);
const remember = database.prepare('INSERT INTO handled_events VALUES (?) ON CONFLICT DO NOTHING');
const act = database.prepare('INSERT INTO actions VALUES (?, ?, 1) ON CONFLICT DO UPDATE SET times = times + 1');
const store = database.prepare(`
  INSERT INTO links VALUES (?, ?, ?, ?, ?) ON CONFLICT (entity_id) DO UPDATE SET
    customer_id = excluded.customer_id, revision = excluded.revision, permissions = excluded.permissions, data = excluded.data
  WHERE excluded.revision >= links.revision`);

// Declares what this subscriber owns. What may fail is never dropped: it goes to the dead-letter queue.
async function declare(channel) {
  await channel.assertExchange(dead, 'fanout', { durable: true });
  await channel.assertQueue(dead, { durable: true, arguments: { 'x-queue-type': 'quorum' } });
  await channel.bindQueue(dead, dead, '');
  await channel.assertQueue(queue, {
    durable: true,
    arguments: {
      'x-queue-type': 'quorum',
      'x-delivery-limit': 20,
      'x-dead-letter-exchange': dead,
      'x-dead-letter-strategy': 'at-least-once',
      'x-overflow': 'reject-publish',
    },
  });
  await channel.bindQueue(queue, `${namespace}.events`, 'customer.*');
}

// Handles one event in one transaction. `version` exceeds what a number holds exactly, so the data is kept without it.
function handle(body) {
  const event = JSON.parse(body.toString('utf8'));
  const { version, ...link } = event.data;
  database.exec('BEGIN IMMEDIATE');
  try {
    if (remember.run(event.id).changes > 0) {
      // The work of this subscriber: here, once per event. In a real one: send a welcome, refresh the balance.
      act.run(link.entity_id, event.type);
      // The data is the whole link as of its revision, so an event that was overtaken changes nothing.
      store.run(link.entity_id, link.customer_id, link.revision, JSON.stringify(link.permissions), JSON.stringify(link));
    }
    database.exec('COMMIT');
  } catch (error) {
    database.exec('ROLLBACK');
    throw error;
  }
}

// Handles and acknowledges one message.
function receive(channel, message) {
  try {
    handle(message.content);
  } catch (error) {
    // Of SQLite: end, and get the event again. Else it is not an event that this code can read. Of the queue: to the dead-letter
    // queue. The stream keeps it anyway.
    if (error.code === 'ERR_SQLITE_ERROR') throw error;
    console.error(`rejected a message: ${error.name}`);
    channel.nack(message, false, false);
    return;
  }
  channel.ack(message);
}

// Reads the stream from its beginning to its present end.
async function catchUp(channel) {
  const started = Date.now() / 1000;
  await new Promise((resolve, reject) => {
    let idle = setTimeout(resolve, IDLE_MS);
    const read = (message) => {
      clearTimeout(idle);
      if (message === null) return reject(new Error('RabbitMQ ended the consumer'));
      receive(channel, message);
      if ((message.properties.timestamp || 0) > started + MARGIN_SECONDS) return resolve();
      idle = setTimeout(resolve, IDLE_MS);
    };
    channel.consume(log, read, { consumerTag: 'catch-up', arguments: { 'x-stream-offset': 'first' } }).catch(reject);
  });
  await channel.cancel('catch-up');
}

async function main() {
  const connection = await amqp.connect(process.env.AMQP_URL);
  // A lost connection ends the process; whatever runs it starts it again.
  connection.on('error', fail);
  connection.on('close', () => fail(new Error('the connection is closed')));
  const channel = await connection.createChannel();
  await channel.prefetch(PREFETCH);
  // First the queue, so that no event falls between the stream and the queue; what comes both ways has one id.
  await declare(channel);
  if (database.prepare('SELECT count(*) AS n FROM caught_up').get().n === 0) {
    await catchUp(channel);
    database.prepare('INSERT INTO caught_up VALUES (?)').run(Date.now());
  }
  await channel.consume(queue, (message) => {
    if (message === null) return fail(new Error('RabbitMQ ended the consumer'));
    receive(channel, message);
  });
  console.log('consuming', queue);
}

function fail(error) {
  console.error(error.message);
  process.exit(1);
}

process.on('SIGTERM', () => process.exit(0));
main().catch(fail);
