/** Elements for pages without a script of their own: `<script src="http://gateway:8080/elements.js"></script>`. */
import { SluiceChart } from './chart.js';
import { clientOf, use } from './element.js';
import { SluiceGauge } from './gauge.js';
import { SluiceImage } from './image.js';
import { SluiceLog } from './log.js';
import { SluiceSlider } from './slider.js';
import { SluiceSwitch } from './switch.js';
import { SluiceValue } from './value.js';
export { SluiceChart, SluiceGauge, SluiceImage, SluiceLog, SluiceSlider, SluiceSwitch, SluiceValue, clientOf, use };
