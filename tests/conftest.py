"""One thread for every test: small tensors are faster so, and nothing depends on the machine's cores."""

import torch

torch.set_num_threads(1)
