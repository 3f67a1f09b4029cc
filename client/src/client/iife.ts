/** `<script src="/client.js">` puts these two names on the page. */
import { Sluice, SluiceError } from './index.js';

Object.assign(globalThis, { Sluice, SluiceError });
