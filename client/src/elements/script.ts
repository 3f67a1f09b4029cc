/** `<script src="/elements.js">` puts Sluice, SluiceError and SluiceElements on the page. */
import '../client/iife.js';
import { clientOf, use } from './index.js';

Object.assign(globalThis, { SluiceElements: { use, clientOf } });
