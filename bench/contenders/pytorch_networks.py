"""The networks of nn.models in PyTorch, with the same parameter names (torchvision's)."""

import torch.nn as nn
import torch.nn.functional as F


class LeNet5(nn.Module):
    def __init__(self, channels, classes):
        super().__init__()
        self.conv1 = nn.Conv2d(channels, 6, 5, padding=2)
        self.conv2 = nn.Conv2d(6, 16, 5)
        self.fc1 = nn.Linear(400, 120)
        self.fc2 = nn.Linear(120, 84)
        self.fc3 = nn.Linear(84, classes)

    def forward(self, x):
        x = F.max_pool2d(F.relu(self.conv1(x)), 2)
        x = F.max_pool2d(F.relu(self.conv2(x)), 2)
        x = F.relu(self.fc1(x.flatten(1)))
        return self.fc3(F.relu(self.fc2(x)))


class Block(nn.Module):
    """A residual block; its convolutions are (kernel, width, stride) lists."""

    def __init__(self, channels, convolutions, stride):
        super().__init__()
        before = channels
        self.count = len(convolutions)
        for i, (kernel, width, step) in enumerate(convolutions, 1):
            setattr(self, f"conv{i}", nn.Conv2d(before, width, kernel, step, kernel // 2, bias=False))
            setattr(self, f"bn{i}", nn.BatchNorm2d(width))
            before = width
        self.downsample = None
        if stride != 1 or channels != before:
            self.downsample = nn.Sequential(nn.Conv2d(channels, before, 1, stride, bias=False), nn.BatchNorm2d(before))

    def forward(self, x):
        y = x
        for i in range(1, self.count + 1):
            y = getattr(self, f"bn{i}")(getattr(self, f"conv{i}")(y))
            if i < self.count:
                y = F.relu(y, inplace=True)
        y += x if self.downsample is None else self.downsample(x)
        return F.relu(y, inplace=True)


class ResNet(nn.Module):
    def __init__(self, channels, classes, blocks, bottleneck, small):
        super().__init__()
        self.small = small
        self.conv1 = nn.Conv2d(channels, 64, 3, 1, 1, bias=False) if small else nn.Conv2d(channels, 64, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        before = 64
        for stage, count in enumerate(blocks):
            width = 64 << stage
            layers = []
            for block in range(count):
                stride = 2 if stage > 0 and block == 0 else 1
                if bottleneck:
                    convolutions = [(1, width, 1), (3, width, stride), (1, 4 * width, 1)]
                else:
                    convolutions = [(3, width, stride), (3, width, 1)]
                layers.append(Block(before, convolutions, stride))
                before = convolutions[-1][1]
            setattr(self, f"layer{stage + 1}", nn.Sequential(*layers))
        self.fc = nn.Linear(before, classes)

    def forward(self, x):
        x = F.relu(self.bn1(self.conv1(x)), inplace=True)
        if not self.small:
            x = F.max_pool2d(x, 3, 2, 1)
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return self.fc(F.adaptive_avg_pool2d(x, 1).flatten(1))


def conv_norm(channels, width, kernel, stride=1, groups=1):
    convolution = nn.Conv2d(channels, width, kernel, stride, kernel // 2, groups=groups, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(width), nn.ReLU6(inplace=True))


class InvertedResidual(nn.Module):
    def __init__(self, channels, width, stride, expansion):
        super().__init__()
        wide = channels * expansion
        self.adds = stride == 1 and channels == width
        layers = [conv_norm(channels, wide, 1)] if expansion != 1 else []
        layers += [conv_norm(wide, wide, 3, stride, wide), nn.Conv2d(wide, width, 1, bias=False), nn.BatchNorm2d(width)]
        self.conv = nn.Sequential(*layers)

    def forward(self, x):
        return x + self.conv(x) if self.adds else self.conv(x)


class MobileNetV2(nn.Module):
    def __init__(self, channels, classes):
        super().__init__()
        features = [conv_norm(channels, 32, 3, 2)]
        before = 32
        for expansion, width, blocks, first in [
            (1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1)
        ]:
            for block in range(blocks):
                features.append(InvertedResidual(before, width, first if block == 0 else 1, expansion))
                before = width
        features.append(conv_norm(320, 1280, 1))
        self.features = nn.Sequential(*features)
        # Without dropping, so that two libraries can be compared.
        self.classifier = nn.Sequential(nn.Dropout(0.0), nn.Linear(1280, classes))

    def forward(self, x):
        return self.classifier(F.adaptive_avg_pool2d(self.features(x), 1).flatten(1))


def network(task):
    name, channels, classes = task["network"], task["channels"], task["classes"]
    if name == "lenet5":
        return LeNet5(channels, classes)
    if name == "resnet18_cifar":
        return ResNet(channels, classes, [2, 2, 2, 2], bottleneck=False, small=True)
    if name == "resnet50":
        return ResNet(channels, classes, [3, 4, 6, 3], bottleneck=True, small=False)
    if name == "mobilenet_v2":
        return MobileNetV2(channels, classes)
    raise ValueError("unknown network " + name)
